"""The three metrics made smooth, on a sample of operations: what gradients can follow.

Coverage counts by a sigmoid instead of a step, the Spearman correlation ranks by sums of sigmoids;
the Pearson correlation is smooth as it is. On few operations they scatter around the true metrics,
so compare two networks on the same sample.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from scipy.stats import rankdata
from torch import Tensor

from epsvae.subjects.ternary import (
    operation_trits,
    operation_valuations,
    poincare,
    target_distance,
)
from epsvae.subjects.ternary.map.sweep import standardise

SHARPNESS = 4.0
"""Steepness with which a logit margin counts as reconstructed."""
RANK_WIDTH = 0.1
"""Width of the steps by which radii are ranked, relative to their spread."""
NEIGHBOURS = 4
"""Pairs per operation: each is paired with the ones that follow it in the sample."""
TINY = 1e-8


def soft_metrics(
    points: Float[Tensor, "n ops dim"],
    logits: Float[Tensor, "n ops 9 3"],
    index: Int[Tensor, "ops"],
) -> Float[Tensor, "n 3"]:
    """Smooth coverage, distance correlation and radial hierarchy of n networks.

    `index` says which operations the points and logits belong to; in a random order, pairs of
    neighbours are random pairs. Order of `METRIC_NAMES`.
    """
    coverage = soft_coverage(logits, index)
    distances = soft_distance_correlation(points, index)
    return torch.stack([coverage, distances, soft_hierarchy(points, index)], dim=-1)


def soft_coverage(
    logits: Float[Tensor, "n ops 9 3"], index: Int[Tensor, "ops"]
) -> Float[Tensor, "n"]:
    """Mean sigmoid of each operation's smallest logit margin."""
    true = F.one_hot(operation_trits(index).long() + 1, logits.shape[-1]).bool()
    other = logits.masked_fill(true, -torch.inf).amax(-1)
    margins = ((logits * true).sum(-1) - other).amin(-1)
    return (SHARPNESS * margins).sigmoid().mean(-1)


def soft_distance_correlation(
    points: Float[Tensor, "n ops dim"], index: Int[Tensor, "ops"]
) -> Float[Tensor, "n"]:
    """Pearson correlation of Poincaré and target distances over neighbouring pairs."""
    shifts = range(1, NEIGHBOURS + 1)
    found = [poincare.distance(points, points.roll(-k, dims=1)) for k in shifts]
    wanted = [target_distance(index, index.roll(-k)) for k in shifts]
    return _correlation(torch.cat(found, dim=1), torch.cat(wanted)[None])


def soft_hierarchy(
    points: Float[Tensor, "n ops dim"], index: Int[Tensor, "ops"]
) -> Float[Tensor, "n"]:
    """Correlation of ranked valuations and softly ranked radii."""
    radii = (points.square().sum(-1) + TINY).sqrt()
    width = RANK_WIDTH * (radii.detach().var(dim=1) + TINY).sqrt()[:, None, None]
    ranks = ((radii[:, :, None] - radii[:, None, :]) / width).sigmoid().mean(-1)
    valuations = rankdata(operation_valuations()[index].numpy())
    return _correlation(ranks, torch.from_numpy(valuations).to(ranks.dtype)[None])


def _correlation(a: Float[Tensor, "n k"], b: Float[Tensor, "#n k"]) -> Float[Tensor, "n"]:
    return (standardise(a) * standardise(b)).mean(-1)
