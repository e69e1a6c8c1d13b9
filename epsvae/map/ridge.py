"""Ridge regression through the Gram matrix, its strength chosen on validation runs."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

STRENGTHS = tuple(10.0**k for k in range(-8, 3))
"""Tried by default, relative to the mean square of a standardised feature vector."""
TINY = 1e-6
SMALLEST_DISTANCE = 1e-12


@torch.no_grad()
def fit_ridge(
    layer: nn.Linear,
    train: tuple[Float[Tensor, "n features"], Float[Tensor, "n targets"]],
    validation: tuple[Float[Tensor, "m features"], Float[Tensor, "m targets"]],
    strengths: Sequence[float] = STRENGTHS,
) -> float:
    """Set a linear layer to the ridge regression of targets on standardised features.

    Solved in the space of the n training rows, in float64. Gives the strength with the smallest
    squared error on the validation rows.
    """
    (x, y), (x_validation, y_validation) = train, validation
    mean, std = x.double().mean(0), x.double().std(0) + TINY
    y_mean = y.double().mean(0)
    z, z_validation = (x - mean) / std, (x_validation - mean) / std
    eigenvalues, basis = torch.linalg.eigh(z @ z.T / z.shape[1])
    rotated = basis.T @ (y - y_mean)
    best = (torch.inf, 0.0, torch.zeros(0))
    for strength in strengths:
        dual = basis @ (rotated / (eigenvalues.clamp_min(0) + strength)[:, None])
        slope = z.T @ dual / z.shape[1]
        error = (z_validation @ slope + y_mean - y_validation).square().mean().item()
        best = min(best, (error, strength, slope), key=lambda fit: fit[0])
    slope = best[2] / std[:, None]
    layer.weight.copy_(slope.T)
    layer.bias.copy_(y_mean - mean @ slope)
    return best[1]


def gaussian_kernel(
    a: Float[Tensor, "*batch codes"], b: Float[Tensor, "n codes"], width: Tensor | float
) -> Float[Tensor, "*batch n"]:
    """exp(-|a - b|^2 / (2 width^2))."""
    squared = a.square().sum(-1, keepdim=True) + b.square().sum(-1) - 2 * a @ b.T
    return torch.exp(-squared.clamp_min(SMALLEST_DISTANCE) / (2 * width**2))
