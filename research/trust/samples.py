"""What a map is tried on: test runs, and everything that is not one."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.random import Generator
from torch import Tensor

from epsvae.subjects.ternary import METRIC_NAMES, evaluate, init_state
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.index import read_index
from epsvae.subjects.ternary.library.layout import MAX_RADIUS
from epsvae.subjects.ternary.map.data import MapData, all_weights, runs_of
from research.rows.foreign import foreign_splits
from research.trust.damage import (
    DAMAGES,
    FAINT,
    Damage,
    break_checkpoints,
    read_matrices,
    unread_matrices,
)

FOREIGN = ("bases", "architectures", "oracle")
N_BROKEN = 66
"""Checkpoints of each damage: six for each layer that is read."""
N_FAINT = 22
N_RANDOM = 48
"""Networks that were never trained."""
TEST, UNREAD = "test runs", "unread layers"
"""Two kinds of samples: what is on the map, and damage that no behaviour can see."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Checkpoints of one kind, with their true metrics."""

    kind: str
    split: ExtractedSplit
    """Says the architecture; its rows are not used."""
    vectors: Float[Tensor, "n weights"]
    metrics: Float[np.ndarray, "n 3"]
    runs: np.ndarray
    layers: Sequence[str]
    strength: float = 1.0


def draw_samples(data: MapData, others: Sequence[MapData], root: Path) -> Iterator[Sample]:
    """Test runs first; then everything that is not one."""
    test = data.test
    yield _extracted(TEST, test)
    for other in others:
        yield _extracted("other library", other.test)
    index = read_index(root)
    for library in FOREIGN:
        for split in foreign_splits(index, root, library):
            yield _extracted(library, split)
    yield _random(test)
    rng = np.random.default_rng(0)
    read, unread = read_matrices(test.architecture), unread_matrices(test.architecture)
    for damage in DAMAGES:
        yield _broken(test, damage, read, damage.kind, N_BROKEN, rng)
    for damage in FAINT:
        yield _broken(test, damage, read, f"faint {damage.kind}", N_FAINT, rng)
    for damage in DAMAGES:
        yield _broken(test, damage, unread, UNREAD, N_FAINT, rng)


def _extracted(kind: str, split: ExtractedSplit) -> Sample:
    n = len(split.metrics)
    return Sample(kind, split, all_weights(split), split.metrics[:], runs_of(split), [""] * n)


def _random(split: ExtractedSplit) -> Sample:
    """Networks as they are before any training."""
    generator = torch.Generator().manual_seed(0)
    states = [init_state(split.architecture, generator) for _ in range(N_RANDOM)]
    radius = all_weights(split, slice(0, N_RANDOM))[:, -1]
    radii = radius[torch.arange(N_RANDOM) % len(radius)]
    vectors = torch.stack(
        [
            split.layout.flatten(state | {MAX_RADIUS: r[None]})
            for state, r in zip(states, radii, strict=True)
        ]
    )
    metrics = _measured(vectors, split)
    return Sample("never trained", split, vectors, metrics, _numbered(N_RANDOM), [""] * N_RANDOM)


def _broken(
    split: ExtractedSplit, damage: Damage, layers: Sequence[str], kind: str, n: int, rng: Generator
) -> Sample:
    """Damaged checkpoints; where no behaviour can see it they keep the true metrics."""
    rows = _spread(split, n, rng)
    vectors, places = break_checkpoints(
        all_weights(split, rows), split.architecture, damage, layers, rng
    )
    metrics = split.metrics[rows] if kind == UNREAD else _measured(vectors, split)
    return Sample(kind, split, vectors, metrics, runs_of(split)[rows], places, damage.strength)


def _spread(split: ExtractedSplit, n: int, rng: Generator) -> np.ndarray:
    """Different checkpoints, in random order, so that no run is always broken in the same layer."""
    total = len(split.metrics)
    return rng.choice(total, n, replace=n > total)


def _numbered(n: int) -> np.ndarray:
    return np.array([f"random-{i:02d}" for i in range(n)], dtype=object)


def _measured(
    vectors: Float[Tensor, "n weights"], split: ExtractedSplit
) -> Float[np.ndarray, "n 3"]:
    """True metrics, by the full evaluation; NaN where embeddings are not finite."""
    return np.array([_evaluate(vector, split) for vector in vectors])


def _evaluate(vector: Float[Tensor, "weights"], split: ExtractedSplit) -> list[float]:
    try:
        metrics = evaluate(split.layout.unflatten(vector), split.architecture, float(vector[-1]))
    except ValueError:
        return [np.nan] * len(METRIC_NAMES)
    return metrics.vector().tolist()
