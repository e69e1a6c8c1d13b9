"""How far a checkpoint's replies lie from those of the training runs; above 1 is off the map.

As in `epsvae.map.offmap`, for any subject: a Mahalanobis distance for each block of what the probes
say, put on a scale by runs that were left out.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.map.offmap import ALARMS, FOLDS, Distance, Scale, fit_distance

Blocks = Mapping[str, Float[Tensor, "_ _"]]
"""What n checkpoints' probes say, by part."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """What is known of the training runs' replies, block by block."""

    distances: dict[str, Distance]
    scales: dict[str, Scale]
    threshold: float
    """What `ALARMS` of held-out checkpoints exceed."""

    def __call__(self, blocks: Blocks) -> Float[Tensor, "n"]:
        """The off-map score of each checkpoint: that of the block which stands out most."""
        known = [self.scales[name](self.distances[name](x)) for name, x in blocks.items()]
        return torch.stack(known).amax(0) / self.threshold


def fit_novelty(train: Blocks, runs: np.ndarray, validation: Blocks) -> Novelty:
    """Training runs are measured against other folds of them, validation runs against all."""
    folds = torch.from_numpy(np.unique(runs, return_inverse=True)[1] % FOLDS)
    distances = {name: fit_distance(x) for name, x in train.items()}
    held_out = {
        name: torch.cat([_across(x, folds), distances[name](validation[name])])
        for name, x in train.items()
    }
    ends = torch.tensor([0.5, 1 - ALARMS])
    scales = {n: Scale(*torch.quantile(d, ends).tolist()) for n, d in held_out.items()}
    worst = torch.stack([scales[name](d) for name, d in held_out.items()]).amax(0)
    return Novelty(distances, scales, worst.quantile(1 - ALARMS).clamp_min(1e-6).item())


def _across(x: Float[Tensor, "n features"], folds: Tensor) -> Float[Tensor, "n"]:
    distance = torch.zeros(len(x))
    for here in (folds == fold for fold in folds.unique()):
        rest = ~here if (~here).any() else here
        distance[here] = fit_distance(x[rest])(x[here])
    return distance
