"""The ranges of what a map predicts: metrics without bounds and back, points inside the ball."""

import torch
from jaxtyping import Float
from torch import Tensor

MARGIN = 2e-3
"""How close to its bounds a metric is told apart where it is learned from: its link is finite
beyond."""
FINEST = 1e-6
"""How close to its bounds a predicted coverage may come."""
MAX_NORM = 0.999
"""Predicted embeddings stay inside the ball of this radius."""


def link(metrics: Float[Tensor, "*batch 3"], margin: float = MARGIN) -> Float[Tensor, "*batch 3"]:
    """Metrics on a scale without bounds: logit for coverage, artanh for the correlations.

    Coverages closer to 0 or 1 than `margin` count as that close.
    """
    coverage = link_coverage(metrics[..., :1], margin)
    correlations = metrics[..., 1:].clamp(MARGIN - 1, 1 - MARGIN).atanh()
    return torch.cat([coverage, correlations], -1)


def link_coverage(
    coverage: Float[Tensor, "*batch"], margin: float = MARGIN
) -> Float[Tensor, "*batch"]:
    """Logit of coverages no closer to 0 and 1 than `margin`."""
    return coverage.clamp(margin, 1 - margin).logit()


def unlink(linked: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 3"]:
    """The inverse of `link`: coverage in (0, 1), correlations in (-1, 1)."""
    return torch.cat([linked[..., :1].sigmoid(), linked[..., 1:].tanh()], -1)


def inside_ball(points: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch dim"]:
    """Points as they are, those beyond `MAX_NORM` moved back to it."""
    return points * (MAX_NORM / points.norm(dim=-1, keepdim=True).clamp_min(MAX_NORM))
