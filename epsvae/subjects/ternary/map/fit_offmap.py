"""Fit the off-map score of a library: see `offmap` for what it is."""

import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.map.novelty import ALARMS, fit_scales
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData, all_weights, runs_of
from epsvae.subjects.ternary.map.fingerprint import READINGS, Fingerprint, fingerprint
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.offmap import OffMap, worst_block

BATCH = 64


def vectors_fingerprint(
    model: EpsilonVAE, vectors: Float[Tensor, "n weights"], split: ExtractedSplit
) -> Fingerprint:
    """Fingerprint of rows of all parameters, in the layout of a split."""
    parts = []
    for part in vectors.split(BATCH):
        state = split.layout.unflatten(part)
        with torch.no_grad():
            seen = model.sweep(state, split.architecture, part[:, -1])
        parts.append(fingerprint(seen, state, split.architecture))
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


@torch.no_grad()
def fit_offmap(model: EpsilonVAE, data: MapData) -> OffMap:
    """Fit on training checkpoints; typical, rare and thresholds by runs that were left out.

    Training runs are measured against the other folds of them, validation runs against all. Which
    checkpoints are good or bad is never looked at.
    """
    train, validation = (
        vectors_fingerprint(model, all_weights(split), split)
        for split in (data.train, data.validation)
    )
    distances, scales, held_out = fit_scales(train, runs_of(data.train), validation)
    parts = [
        worst_block({name: d for name, d in held_out.items() if (name in READINGS) is read})
        for read in (True, False)
    ]
    reading, weights = (part.score.quantile(1 - ALARMS / 2).item() for part in parts)
    return OffMap(distances, scales, (reading, weights))
