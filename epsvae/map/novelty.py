"""How far a checkpoint's replies lie from those of the training runs; above 1 is off the map.

A Mahalanobis distance for each block of what the probes say, put on a logarithmic scale where 0 is
typical of runs that were left out and one in a hundred of their checkpoints reaches 1.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

ALARMS = 0.01
"""Share of held-out checkpoints that the flag may raise, half of it for each of the two parts."""
FOLDS = 8
"""Groups of training runs; each is measured against the others."""
RANK = 60
"""Directions of a block in which variances are told apart; the others share one."""
SMALLEST_SPREAD = 1e-2
SMALLEST_VARIANCE = 1e-2
"""Of a standardised feature, in any direction."""
SMALLEST_DISTANCE = 0.1
NARROWEST = 0.3
"""A block's typical and rare distances are at least a factor e^0.3 apart."""


@dataclass(frozen=True, eq=False)
class Distance:
    """Mahalanobis distance per feature, with a shrunk covariance: about 1 where it was fitted."""

    mean: Float[Tensor, "features"]
    spread: Float[Tensor, "features"]
    basis: Float[Tensor, "rank features"]
    variance: Float[Tensor, "rank"]
    rest: Float[Tensor, ""]
    """Variance in every direction that `basis` leaves out."""

    def __call__(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n"]:
        """Distance of each row from the rows that were fitted."""
        z = (x - self.mean) / self.spread
        inside = z @ self.basis.T
        left_out = (z.square().sum(1) - inside.square().sum(1)).clamp_min(0)
        squared = (inside.square() / self.variance).sum(1) + left_out / self.rest
        return (squared / x.shape[1]).sqrt()


def fit_distance(x: Float[Tensor, "n features"]) -> Distance:
    """Distance from the rows of x; constant features count by `SMALLEST_SPREAD`."""
    mean, spread = x.mean(0), x.std(0, correction=0) + SMALLEST_SPREAD
    _, values, basis = torch.linalg.svd((x - mean) / spread, full_matrices=False)
    variance = values.square() / len(x)
    n_left = max(1, x.shape[1] - RANK)
    rest = (variance[RANK:].sum() / n_left).clamp_min(SMALLEST_VARIANCE)
    return Distance(mean, spread, basis[:RANK], variance[:RANK] + SMALLEST_VARIANCE, rest)


@dataclass(frozen=True, eq=False)
class Scale:
    """Distances of a block that are typical and rare among checkpoints of held-out runs."""

    typical: float
    rare: float

    def __call__(self, distance: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
        """0 where the distance is typical or less, 1 where it is rare; logarithmic between."""
        low, high = np.log([self.typical + SMALLEST_DISTANCE, self.rare + SMALLEST_DISTANCE])
        steps = torch.log(distance + SMALLEST_DISTANCE) - low
        return (steps / max(high - low, NARROWEST)).clamp_min(0).nan_to_num(nan=torch.inf)


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
        return torch.stack(list(self.scores(blocks).values())).amax(0)

    def scores(self, blocks: Blocks) -> dict[str, Float[Tensor, "n"]]:
        """The same block by block."""
        return {
            name: self.scales[name](self.distances[name](x)) / self.threshold
            for name, x in blocks.items()
        }


def fit_novelty(train: Blocks, runs: np.ndarray, validation: Blocks) -> Novelty:
    """Distances and scales of every block, and the threshold of the block that stands out most."""
    distances, scales, held_out = fit_scales(train, runs, validation)
    worst = torch.stack(list(held_out.values())).amax(0)
    return Novelty(distances, scales, worst.quantile(1 - ALARMS).clamp_min(1e-6).item())


def fit_scales(
    train: Blocks, runs: np.ndarray, validation: Blocks
) -> tuple[dict[str, Distance], dict[str, Scale], dict[str, Float[Tensor, "n"]]]:
    """(distances, scales, scores of runs that were left out), block by block.

    Training runs are measured against other folds of them, validation runs against all.
    """
    folds = torch.from_numpy(np.unique(runs, return_inverse=True)[1] % FOLDS)
    distances = {name: fit_distance(x) for name, x in train.items()}
    held_out = {
        name: torch.cat([across_folds(x, folds), distances[name](validation[name])])
        for name, x in train.items()
    }
    ends = torch.tensor([0.5, 1 - ALARMS])
    scales = {n: Scale(*torch.quantile(d, ends).tolist()) for n, d in held_out.items()}
    return distances, scales, {name: scales[name](d) for name, d in held_out.items()}


def across_folds(x: Float[Tensor, "n features"], folds: Tensor) -> Float[Tensor, "n"]:
    """Distance of each row from the rows of the other folds."""
    distance = torch.zeros(len(x))
    for here in (folds == fold for fold in folds.unique()):
        rest = ~here if (~here).any() else here
        distance[here] = fit_distance(x[rest])(x[here])
    return distance
