"""The invariance audit: what a map says when weights change and the function does not."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd
import torch
from torch import Tensor

from epsvae.subjects.ternary import Architecture, evaluate
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.library.layout import extract_key_weights
from epsvae.subjects.ternary.map.files import AnyMap
from epsvae.subjects.ternary.map.fingerprint import checkpoint_fingerprint
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.offmap import OffMap
from epsvae.subjects.ternary.network import State
from epsvae.subjects.ternary.symmetry import hidden_layers, reorder

Change = Callable[[State, Architecture, torch.Generator], dict[str, Tensor]]

FACTORS = (0.5, 2.0)
"""A ReLU unit is made up to twice as large or as small."""
COLUMNS = (
    "map",
    "symmetry",
    "run",
    "epoch",
    "weights",
    "function",
    "z",
    "metrics",
    "embeddings",
    "offmap",
)


def permute(
    state: State, architecture: Architecture, generator: torch.Generator
) -> dict[str, Tensor]:
    """The same function: hidden units of every layer in another order."""
    for layer in hidden_layers(architecture):
        order = torch.randperm(len(state[layer.rows[0]]), generator=generator)
        state = reorder(state, layer, order)
    return dict(state)


def rescale(
    state: State, architecture: Architecture, generator: torch.Generator
) -> dict[str, Tensor]:
    """The same function: ReLU units of encoders and decoder made larger or smaller, and what reads
    them the other way round. Projections have LayerNorm and SiLU, which are not homogeneous."""
    new = dict(state)
    low, high = FACTORS
    for layer in hidden_layers(architecture):
        if layer.rows[0].startswith("projection"):
            continue
        size = len(new[layer.rows[0]])
        factors = low + (high - low) * torch.rand(size, generator=generator)
        for name in layer.rows:
            new[name] = new[name] * (factors[:, None] if new[name].dim() == 2 else factors)
        for name in layer.columns:
            new[name] = new[name] / factors
    return new


def both(state: State, architecture: Architecture, generator: torch.Generator) -> dict[str, Tensor]:
    """Permuted and rescaled."""
    return permute(rescale(state, architecture, generator), architecture, generator)


SYMMETRIES: Mapping[str, Change] = {"permuted": permute, "rescaled": rescale, "both": both}


@torch.no_grad()
def audit_table(
    models: Mapping[str, AnyMap],
    checkpoints: Sequence[Checkpoint],
    offmaps: Mapping[str, OffMap] | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """How far every map's answers move under each symmetry; columns `COLUMNS`.

    `weights` is the share of the key weights' norm that changed, `function` the largest change of a
    measured metric, which rounding alone can cause. The other columns are the largest changes of
    z (in units of its largest coordinate), of metrics, of embeddings, and of the off-map score of
    the maps in `offmaps`; NaN where a map has none.
    """
    rows = []
    for number, checkpoint in enumerate(checkpoints):
        for name, change in SYMMETRIES.items():
            generator = torch.Generator().manual_seed(seed + number)
            state = change(checkpoint.state, checkpoint.architecture, generator)
            moved = replace(checkpoint, state=state)
            about: dict[str, object] = {
                "symmetry": name,
                "run": checkpoint.run,
                "epoch": checkpoint.epoch,
                "weights": _weights_moved(checkpoint, moved),
                "function": _function_moved(checkpoint, moved),
            }
            for label, model in models.items():
                offmap = (offmaps or {}).get(label)
                rows.append({"map": label, **about, **_moved(model, checkpoint, moved, offmap)})
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _weights_moved(a: Checkpoint, b: Checkpoint) -> float:
    x, y = (extract_key_weights(c) for c in (a, b))
    return float((x - y).norm() / x.norm())


def _function_moved(a: Checkpoint, b: Checkpoint) -> float:
    x, y = (evaluate(c.state, c.architecture, c.max_radius).vector() for c in (a, b))
    return float(abs(x - y).max())


def _moved(model: AnyMap, a: Checkpoint, b: Checkpoint, offmap: OffMap | None) -> dict[str, float]:
    z, other = (model.encode(_weights(model, c)) for c in (a, b))
    answers = {
        "metrics": model.predict_metrics,
        "embeddings": model.decode_embeddings,
    }
    moved = {name: float((ask(z) - ask(other)).abs().max()) for name, ask in answers.items()}
    moved["z"] = float((z - other).abs().max() / z.abs().max())
    if offmap is not None and isinstance(model, EpsilonVAE):
        x, y = (offmap(checkpoint_fingerprint(model, c)).score for c in (a, b))
        moved["offmap"] = float((x - y).abs().max())
    return moved


def _weights(model: AnyMap, checkpoint: Checkpoint) -> Tensor:
    """All that a map reads: the default map every parameter, the seed's the key weights."""
    return extract_key_weights(checkpoint, "all" if isinstance(model, EpsilonVAE) else "key")
