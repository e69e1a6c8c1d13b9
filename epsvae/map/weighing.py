"""Weights of the probes, so that weighed means over them are means over all inputs.

The heart of a quadrature rule. Anchor points weigh an input by how many others it stands for; here
past runs say it: the weights with which the probes' scores would have given the metrics, and the
probes' other columns their means over many more inputs.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
"""Of the pull to equal weights, relative to the mean square of the centred scores."""
TINY = 1e-9


def fit_weights(
    train: tuple[Float[Tensor, "n probes columns"], Float[Tensor, "n columns"]],
    validation: tuple[Float[Tensor, "m probes columns"], Float[Tensor, "m columns"]],
    strengths: Sequence[float] = STRENGTHS,
) -> Float[Tensor, "probes"]:
    """Weights >= 0 with sum 1 whose means of columns come close to given ones.

    Ridge regression of what equal weights leave over, all columns at once, each in units of what
    they leave over there; the strength is that with the smallest error on validation checkpoints,
    where equal weights are a candidate too.
    """
    columns, targets = (part.double() for part in train)
    rest = targets - columns.mean(1)
    unit = rest.square().mean(0).sqrt() + TINY
    centred = ((columns - columns.mean(1, keepdim=True)) / unit).transpose(1, 2).flatten(0, 1)
    gram, aim = centred.T @ centred, centred.T @ (rest / unit).flatten()
    scale, n_probes = gram.diagonal().mean() + TINY, columns.shape[1]
    best = torch.full((n_probes,), 1 / n_probes, dtype=torch.double)
    smallest = _error(best, validation, unit)
    for strength in strengths:
        step = torch.linalg.solve(gram + strength * scale * torch.eye(n_probes).double(), aim)
        weights = (1 / n_probes + step - step.mean()).clamp_min(0)
        weights = weights / weights.sum()
        if (error := _error(weights, validation, unit)) < smallest:
            best, smallest = weights, error
    return best.float()


def _error(
    weights: Float[Tensor, "probes"],
    rows: tuple[Float[Tensor, "m probes columns"], Float[Tensor, "m columns"]],
    unit: Float[Tensor, "columns"],
) -> float:
    columns, targets = (part.double() for part in rows)
    means = torch.einsum("npc,p->nc", columns, weights)
    return float(((means - targets) / unit).abs().mean())
