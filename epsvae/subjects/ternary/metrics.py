"""The three metrics of a checkpoint, over all 19,683 operations, on encoder A's mean.

Deterministic: the operations are all of them, the pairs are fixed by a seed, nothing is sampled.
"""

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int, Int32
from torch import Tensor

from epsvae.subject import Metric
from epsvae.subjects.ternary import poincare
from epsvae.subjects.ternary.full_pass import full_pass
from epsvae.subjects.ternary.network import Architecture, State
from epsvae.subjects.ternary.operations import N_OPERATIONS, operation_valuations, target_distance
from epsvae.threads import calm

N_PAIRS = 100_000
"""Pairs behind the distance correlation: its sampling error is (1 - r^2) / sqrt(N) < 0.0032."""

PAIR_SEED = 20251226

PAIR_CHUNK = 8192
"""Pairs at a time: few enough that they stay in a core's cache."""


@dataclass(frozen=True)
class Metrics:
    """What one checkpoint does. Field order is the order of every metric vector in this project."""

    coverage: float
    """Share of operations whose nine trits are all reconstructed, in [0, 1]."""
    distance_correlation: float
    """Pearson correlation of Poincaré distance and 3 exp(-v/3) over pairs, in [-1, 1]."""
    radial_hierarchy: float
    """Spearman correlation of valuation and radius, in [-1, 1]; negative is right. Two thirds of
    the operations tie at valuation 0, so distinct radii reach -0.8321 at best."""

    def vector(self) -> Float[np.ndarray, "3"]:
        """The three values as an array."""
        return np.array([self.coverage, self.distance_correlation, self.radial_hierarchy])

    asdict = asdict


METRICS = (
    Metric("coverage", 0.0, 1.0),
    Metric("distance_correlation", -1.0, 1.0),
    Metric("radial_hierarchy", -1.0, 1.0, better="lower"),
)
"""Ranges and directions, in the order of `Metrics`."""
METRIC_NAMES = tuple(metric.name for metric in METRICS)


@cache
def uniform_pairs() -> tuple[Int[Tensor, "2 pairs"], Float[Tensor, "pairs"]]:
    """The fixed uniform pairs of different operations, and their target distances."""
    generator = torch.Generator().manual_seed(PAIR_SEED)
    i = torch.randint(N_OPERATIONS, (N_PAIRS,), generator=generator)
    offset = torch.randint(1, N_OPERATIONS, (N_PAIRS,), generator=generator)
    j = (i + offset) % N_OPERATIONS
    return torch.stack([i, j]), target_distance(i, j)


def distance_correlation(embeddings: Float[Tensor, "19683 dim"]) -> float:
    """Pearson correlation of Poincaré distances with `target_distance`; 0 if all distances tie."""
    (first, second), target = _sorted_pairs()
    ones = embeddings.new_ones(embeddings.shape[1])  # x @ ones: twice as fast as x.sum(-1)
    room = 1 - embeddings.square() @ ones  # once a point, not once a pair
    gap = embeddings.new_empty(N_PAIRS)
    chunks = (x.split(PAIR_CHUNK) for x in (first, second, gap))
    for i, j, out in zip(*chunks, strict=True):
        between = embeddings.index_select(0, i).sub_(embeddings.index_select(0, j))
        torch.mv(between.square_(), ones, out=out)
    room = room.index_select(0, first) * room.index_select(0, second)
    return _correlation(poincare.from_gap(gap, room), target)


@cache
def _sorted_pairs() -> tuple[Int32[Tensor, "2 pairs"], Float[Tensor, "pairs"]]:
    """The pairs in the order of their first operations, in half the bytes, which are gathered twice
    as fast; and their targets for `_correlation`."""
    pairs, target = uniform_pairs()
    order = pairs[0].argsort()
    return pairs[:, order].int(), _unit(target[order])


def radial_hierarchy(embeddings: Float[Tensor, "19683 dim"]) -> float:
    """Spearman correlation of valuation and radius; 0 if all radii tie.

    Ranks need only the norm, in which the radius is monotone. With distinct radii the best value
    is -sqrt(1 - sum(t^3 - t) / (n^3 - n)) = -0.8321, t running over the classes of valuations.
    """
    return _correlation(_ranks(embeddings.norm(dim=-1)), _unit_valuation_ranks())


@cache
def _unit_valuation_ranks() -> Float[Tensor, "19683"]:
    return _unit(_ranks(operation_valuations()))


def _ranks(x: Tensor) -> Float[Tensor, "n"]:
    """Ranks from 1, ties at their mean: thrice as fast as scipy's `rankdata`, and the same."""
    _, inverse, counts = np.unique(x.numpy(), return_inverse=True, return_counts=True)
    return torch.from_numpy((counts.cumsum() - (counts - 1) / 2)[inverse])


def _unit(x: Float[Tensor, "n"]) -> Float[Tensor, "n"]:
    """Centred and of length 1, in double precision; zeros if all values tie."""
    x = x.double()
    x = x - x.mean()
    return x / x.norm().clamp_min(torch.finfo(x.dtype).tiny)


def _correlation(x: Float[Tensor, "n"], unit: Float[Tensor, "n"]) -> float:
    """Pearson correlation with what `_unit` gave. In torch throughout: NumPy's `@` starts threads
    of its own, and they wait by spinning."""
    return float(_unit(x) @ unit)


def correlations_of(
    points: Float[Tensor, "n dim"], operations: Int[Tensor, "n"]
) -> tuple[float, float]:
    """Distance correlation and hierarchy of a few operations alone, the first over all pairs."""
    i, j = torch.triu_indices(len(points), len(points), 1)
    target = _unit(target_distance(operations[i], operations[j]))
    ranks = _unit(_ranks(operation_valuations()[operations]))
    return (
        _correlation(poincare.distance(points[i], points[j]), target),
        _correlation(_ranks(points.norm(dim=-1)), ranks),
    )


def evaluate(state: State, architecture: Architecture, max_radius: float) -> Metrics:
    """The three metrics of one network: the full evaluation, about 1 G multiply-adds.

    Raises ValueError if an embedding is NaN or infinite: such a network has no metrics.
    """
    return evaluate_with_points(state, architecture, max_radius)[0]


@calm()
def evaluate_with_points(
    state: State, architecture: Architecture, max_radius: float
) -> tuple[Metrics, Float[Tensor, "19683 dim"]]:
    """What `evaluate` gives, and the embeddings of all operations, which it needs anyway."""
    points, reconstructed = full_pass(state, architecture, max_radius)
    if not points.sum().isfinite():  # points of a ball: their sum cannot overflow
        raise ValueError("state: expected parameters that give finite embeddings, found NaN or Inf")
    metrics = Metrics(
        reconstructed / N_OPERATIONS, distance_correlation(points), radial_hierarchy(points)
    )
    return metrics, points
