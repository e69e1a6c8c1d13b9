"""Goals of steering: losses of what decoded networks do on a batch of operations."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES, METRICS, operation_trits
from epsvae.subjects.ternary.map.soft_metrics import (
    soft_coverage,
    soft_distance_correlation,
    soft_hierarchy,
)
from epsvae.subjects.ternary.objectives import reconstruction_loss

PRESSURE = 20.0
"""What a missing unit of a wanted metric costs, against one of distance correlation."""
BETTER = {metric.name: metric.sign for metric in METRICS}
"""The sign of the better direction."""


class Run(NamedTuple):
    """What n networks did on a batch of operations."""

    points: Float[Tensor, "n ops dim"]
    logits: Float[Tensor, "n ops 9 3"]
    operations: Int[Tensor, "ops"]


Goal = Callable[[Run], Float[Tensor, "n"]]
"""A loss of each network; its gradient must not mix networks."""


def toward_front(weight: float | Float[Tensor, "n"]) -> Goal:
    """1 - distance correlation + weight * cross-entropy of reconstruction: a larger weight asks
    for more coverage, so that several weights spread along the front."""

    def goal(run: Run) -> Float[Tensor, "n"]:
        errors = reconstruction_loss(run.logits, operation_trits(run.operations))
        return 1 - soft_distance_correlation(run.points, run.operations) + weight * errors

    return goal


def at_least(wanted: Mapping[str, float | Tensor]) -> Goal:
    """As much distance correlation as possible among networks that have what is wanted.

    `wanted` names metrics and what they should reach: ``{"coverage": 0.95}``. A radial hierarchy
    should reach down. Raises EpsvaeError for another name.
    """
    if unknown := set(wanted) - set(METRIC_NAMES):
        raise EpsvaeError(f"wanted: expected {', '.join(METRIC_NAMES)}, found {sorted(unknown)}")

    def goal(run: Run) -> Float[Tensor, "n"]:
        found = {name: MEASURES[name](run) for name in wanted}
        short = [(BETTER[name] * (wanted[name] - found[name])).relu() for name in wanted]
        best = 1 - soft_distance_correlation(run.points, run.operations)
        return best + PRESSURE * sum(short, torch.zeros(()))

    return goal


def _coverage(run: Run) -> Float[Tensor, "n"]:
    """The true share on the batch, with the gradient of the soft one."""
    smooth = soft_coverage(run.logits, run.operations)
    wanted = operation_trits(run.operations).long() + 1
    true = (run.logits.argmax(-1) == wanted).all(-1).float().mean(-1)
    return smooth + (true - smooth).detach()


MEASURES: Mapping[str, Callable[[Run], Float[Tensor, "n"]]] = {
    "coverage": _coverage,
    "distance_correlation": lambda run: soft_distance_correlation(run.points, run.operations),
    "radial_hierarchy": lambda run: soft_hierarchy(run.points, run.operations),
}
