"""How far a checkpoint lies from what a map knows: a score from weights alone, without labels.

Each block of the fingerprint has a Mahalanobis distance from the training checkpoints. It is put on
a logarithmic scale where 0 is typical of runs that were left out, and one in a hundred of their
checkpoints reaches 1. The worst block of readings and the worst of weights count, each divided by
what one in two hundred exceed: above 1 is flagged.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.map.data import MapData, all_weights, runs_of
from epsvae.map.fingerprint import READINGS, Fingerprint, vectors_fingerprint
from epsvae.map.model import EpsilonVAE

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


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the off-map score, of n checkpoints; above 1 is flagged."""

    score: Float[Tensor, "n"]
    block: list[str]
    """The block that stands out most, in each checkpoint; empty where none can be compared."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """Off-map scores of n checkpoints."""

    reading: Part
    """Does it behave like a training checkpoint, as far as the sweep sees?"""
    weights: Part
    """Do its layers look like theirs? Layers that nothing reads are seen by this part alone."""

    @property
    def score(self) -> Float[Tensor, "n"]:
        """The one number: the larger part."""
        return torch.maximum(self.reading.score, self.weights.score)

    @property
    def flagged(self) -> list[bool]:
        """Which checkpoints are off the map."""
        return (self.score > 1).tolist()


@dataclass(frozen=True, eq=False)
class OffMap:
    """What is known of a library's checkpoints, block by block."""

    distances: Mapping[str, Distance]
    scales: Mapping[str, Scale]
    thresholds: tuple[float, float]
    """Of readings and of weights: what half of `ALARMS` of held-out checkpoints exceed."""

    def __call__(self, fingerprint: Fingerprint) -> Novelty:
        """Scores of n checkpoints; blocks of another size than the library's are passed over."""
        known = {
            name: self.scales[name](distance(fingerprint[name]))
            for name, distance in self.distances.items()
            if name in fingerprint and fingerprint[name].shape[1] == len(distance.mean)
        }
        nothing = {"": torch.zeros(len(fingerprint[READINGS[0]]))}
        reading = {name: score for name, score in known.items() if name in READINGS}
        weights = {name: score for name, score in known.items() if name not in READINGS}
        parts = (_worst(part or nothing) for part in (reading, weights))
        return Novelty(
            *(
                Part(part.score / threshold, part.block)
                for part, threshold in zip(parts, self.thresholds, strict=True)
            )
        )


def _worst(scores: Mapping[str, Float[Tensor, "n"]]) -> Part:
    """The largest of all blocks' scores, in each checkpoint."""
    names = list(scores)
    largest, place = torch.stack(list(scores.values())).max(0)
    return Part(largest, [names[i] for i in place.tolist()])


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
    folds = torch.from_numpy(np.unique(runs_of(data.train), return_inverse=True)[1] % FOLDS)
    distances = {name: fit_distance(x) for name, x in train.items()}
    held_out = {
        name: torch.cat([_across_folds(x, folds), distances[name](validation[name])])
        for name, x in train.items()
    }
    scales = {
        name: Scale(*torch.quantile(d, torch.tensor([0.5, 1 - ALARMS])).tolist())
        for name, d in held_out.items()
    }
    parts = [
        _worst({n: scales[n](d) for n, d in held_out.items() if (n in READINGS) is read})
        for read in (True, False)
    ]
    reading, weights = (part.score.quantile(1 - ALARMS / 2).item() for part in parts)
    return OffMap(distances, scales, (reading, weights))


def _across_folds(x: Float[Tensor, "n features"], folds: Tensor) -> Float[Tensor, "n"]:
    """Distance of each row from the rows of the other folds."""
    distance = torch.zeros(len(x))
    for fold in folds.unique():
        here = folds == fold
        distance[here] = fit_distance(x[~here])(x[here])
    return distance
