"""The three metrics of a checkpoint, over all 19,683 operations, on encoder A's mean.

Deterministic: the operations are all of them, the pairs are fixed by a seed, nothing is sampled.
"""

from dataclasses import asdict, dataclass
from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import rankdata
from torch import Tensor

from epsvae.ternary import poincare
from epsvae.ternary.network import Architecture, State, by_columns, decode, encode, project
from epsvae.ternary.operations import (
    N_OPERATIONS,
    all_operations,
    operation_valuations,
    target_distance,
)

N_PAIRS = 100_000
"""Pairs behind the distance correlation: its sampling error is (1 - r^2) / sqrt(N) < 0.0032."""

PAIR_SEED = 20251226

CHUNK, PAIR_CHUNK = 2048, 8192
"""Operations and pairs at a time: small enough that they stay in a core's cache."""


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


METRIC_NAMES = tuple(Metrics.__dataclass_fields__)


@cache
def uniform_pairs() -> tuple[Int[Tensor, "2 pairs"], Float[Tensor, "pairs"]]:
    """The fixed uniform pairs of different operations, and their target distances."""
    generator = torch.Generator().manual_seed(PAIR_SEED)
    i = torch.randint(N_OPERATIONS, (N_PAIRS,), generator=generator)
    offset = torch.randint(1, N_OPERATIONS, (N_PAIRS,), generator=generator)
    j = (i + offset) % N_OPERATIONS
    return torch.stack([i, j]), target_distance(i, j)


def count_reconstructed(logits: Float[Tensor, "n 9 3"], trits: Float[Tensor, "n 9"]) -> int:
    """How many operations have all nine trits right (the true value's logit is the largest).

    The first of equal logits counts, as in `argmax`, which is slow on so short a dimension.
    """
    low, middle, high = logits.unbind(-1)
    is_high = high > torch.maximum(low, middle)
    is_low = (low >= middle) & ~is_high
    return int((is_high.float() - is_low.float() == trits).all(-1).sum())


def distance_correlation(embeddings: Float[Tensor, "19683 dim"]) -> float:
    """Pearson correlation of Poincaré distances with `target_distance`; 0 if all distances tie."""
    pairs, target = uniform_pairs()
    ones = embeddings.new_ones(embeddings.shape[1])  # x @ ones: twice as fast as x.sum(-1)
    room = 1 - embeddings.square() @ ones  # once a point, not once a pair
    chunks = []
    for i, j in (part.unbind() for part in pairs.split(PAIR_CHUNK, dim=1)):
        gap = (embeddings.index_select(0, i) - embeddings.index_select(0, j)).square() @ ones
        chunks.append(poincare.from_gap(gap, room.index_select(0, i) * room.index_select(0, j)))
    return _pearson(torch.cat(chunks), target)


def radial_hierarchy(embeddings: Float[Tensor, "19683 dim"]) -> float:
    """Spearman correlation of valuation and radius; 0 if all radii tie.

    Ranks need only the norm, in which the radius is monotone. With distinct radii the best value
    is -sqrt(1 - sum(t^3 - t) / (n^3 - n)) = -0.8321, t running over the classes of valuations.
    """
    return _pearson(_valuation_ranks(), _ranks(embeddings.norm(dim=-1)))


@cache
def _valuation_ranks() -> Float[Tensor, "19683"]:
    return _ranks(operation_valuations())


def _ranks(x: Tensor) -> Float[Tensor, "n"]:
    return torch.from_numpy(rankdata(x.numpy()))


def _pearson(x: Float[Tensor, "n"], y: Float[Tensor, "n"]) -> float:
    """In torch throughout: NumPy's `@` starts threads of its own, and they wait by spinning."""
    x, y = x.double(), y.double()
    x, y = x - x.mean(), y - y.mean()
    scale = float(torch.sqrt((x @ x) * (y @ y)))
    return float(x @ y) / scale if scale > 0 else 0.0


def evaluate(state: State, architecture: Architecture, max_radius: float) -> Metrics:
    """The three metrics of one network: the full evaluation, about 1 G multiply-adds.

    Raises ValueError if an embedding is NaN or infinite: such a network has no metrics.
    """
    return evaluate_with_points(state, architecture, max_radius)[0]


@torch.no_grad()
def evaluate_with_points(
    state: State, architecture: Architecture, max_radius: float
) -> tuple[Metrics, Float[Tensor, "19683 dim"]]:
    """What `evaluate` gives, and the embeddings of all operations, which it needs anyway."""
    state, embeddings, reconstructed = by_columns(state), [], 0
    for trits in all_operations().split(CHUNK):
        mu = encode(state, architecture, trits)
        embeddings.append(project(state, architecture, mu, max_radius))
        reconstructed += count_reconstructed(decode(state, architecture, mu), trits)
    points = torch.cat(embeddings)
    if not points.sum().isfinite():  # points of a ball: their sum cannot overflow
        raise ValueError("state: expected parameters that give finite embeddings, found NaN or Inf")
    metrics = Metrics(
        reconstructed / N_OPERATIONS, distance_correlation(points), radial_hierarchy(points)
    )
    return metrics, points
