"""Checkpoints that are broken on purpose, to ask whether a map notices."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.subjects.ternary import Architecture
from epsvae.subjects.ternary.library.layout import all_layout

OUTLIER = 16
"""An outlier is this many times as large as a layer's largest weight."""


@dataclass(frozen=True)
class Damage:
    """One way of breaking a checkpoint."""

    kind: str
    """noise, shuffled, zeroed, signs, scaled or outliers."""
    strength: float
    """noise: share of a layer's spread; signs and outliers: share of its weights; scaled: factor;
    shuffled and zeroed: 1."""
    everywhere: bool = False
    """In all layers; otherwise in one."""


DAMAGES = (
    Damage("noise", 0.2, everywhere=True),
    Damage("shuffled", 1.0),
    Damage("zeroed", 1.0),
    Damage("signs", 0.5),
    Damage("scaled", 4.0),
    Damage("outliers", 0.001),
)
"""What the off-map score must notice."""
FAINT = (
    *(Damage("noise", s, everywhere=True) for s in (0.01, 0.03, 0.1)),
    *(Damage("signs", s) for s in (0.01, 0.03, 0.1)),
    *(Damage("scaled", s) for s in (1.1, 1.4, 2.0)),
)
"""The same, weaker and weaker: where does it stop noticing?"""


def read_matrices(architecture: Architecture) -> tuple[str, ...]:
    """Matrices that embeddings and reconstructions depend on."""
    blocks = ("encoder_A", "decoder_A", architecture.projections[0])
    return tuple(name for name in _matrices(architecture, blocks) if "fc_logvar" not in name)


def unread_matrices(architecture: Architecture) -> tuple[str, ...]:
    """Matrices that no measured behaviour depends on: encoder B, projection B, log-variances."""
    blocks = ("encoder_A", "encoder_B", *architecture.projections[1:])
    read = read_matrices(architecture)
    return tuple(name for name in _matrices(architecture, blocks) if name not in read)


def _matrices(architecture: Architecture, blocks: Sequence[str]) -> Iterator[str]:
    for block in blocks:
        yield from (f"{name}.weight" for name, *_ in architecture.linears(block))


def break_checkpoints(
    vectors: Float[Tensor, "n weights"],
    architecture: Architecture,
    damage: Damage,
    layers: Sequence[str],
    rng: np.random.Generator,
) -> tuple[Float[Tensor, "n weights"], list[str]]:
    """Broken copies of rows of all parameters, and which layer was broken ("all" if all were).

    Checkpoint i is broken in layer i modulo their number.
    """
    slices: Mapping[str, slice] = all_layout(architecture).slices
    broken, places = vectors.clone(), []
    for i, row in enumerate(broken):
        chosen = layers if damage.everywhere else [layers[i % len(layers)]]
        for layer in chosen:
            values = row[slices[layer]].numpy()
            row[slices[layer]] = torch.from_numpy(_break(values, damage, rng))
        places.append("all" if damage.everywhere else chosen[0])
    return broken, places


def _break(
    values: Float[np.ndarray, "size"], damage: Damage, rng: np.random.Generator
) -> Float[np.ndarray, "size"]:
    size, strength = len(values), damage.strength
    if damage.kind == "noise":
        new = values + strength * values.std() * rng.normal(size=size)
    elif damage.kind == "shuffled":
        new = rng.permutation(values)
    elif damage.kind == "zeroed":
        new = np.zeros(size)
    elif damage.kind == "scaled":
        new = values * strength
    elif damage.kind == "signs":
        new = np.where(rng.random(size) < strength, -values, values)
    elif damage.kind == "outliers":
        new = values.copy()
        hit = rng.choice(size, max(1, round(strength * size)), replace=False)
        new[hit] = OUTLIER * np.abs(values).max() * rng.choice([-1, 1], len(hit))
    else:
        raise ValueError(f"kind: expected a known damage, found {damage.kind!r}")
    return new.astype(np.float32)
