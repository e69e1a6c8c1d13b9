"""The curved part of the decoder: what a flat chart of the embeddings leaves out.

Principal components are a flat chart of a curved set. Kernel ridge regression with a Gaussian
kernel (Saunders et al., 1998) predicts the rest from the same coordinates. Far from the training
checkpoints it fades away, and the chart is flat again.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.map.ridge import gaussian_kernel

WIDTHS = (1.0, 2.0, 4.0)
"""Tried by default: the kernel's width, relative to the codes' root mean square norm."""
STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)


class Curve(nn.Module):
    """codes -> correction of the flattened embeddings: kernel(codes, centres) @ dual @ basis.

    `centres` are the training checkpoints' codes, `basis` the leading directions of what the flat
    chart leaves out. Zero until it is fitted.
    """

    centres: Tensor
    dual: Tensor
    basis: Tensor
    width: Tensor

    def __init__(self, n_codes: int, n_points: int, rank: int, n_centres: int) -> None:
        super().__init__()
        self.register_buffer("centres", torch.zeros(n_centres, n_codes))
        self.register_buffer("dual", torch.zeros(n_centres, rank))
        self.register_buffer("basis", torch.zeros(rank, n_points))
        self.register_buffer("width", torch.ones(()))

    def forward(self, codes: Float[Tensor, "*batch codes"]) -> Float[Tensor, "*batch points"]:
        """Correction at the given codes."""
        return gaussian_kernel(codes, self.centres, self.width) @ self.dual @ self.basis


@torch.no_grad()
def fit_curve(
    curve: Curve,
    train: tuple[Float[Tensor, "n codes"], Float[Tensor, "n points"]],
    validation: tuple[Float[Tensor, "m codes"], Float[Tensor, "m points"]],
    widths: Sequence[float] = WIDTHS,
    strengths: Sequence[float] = STRENGTHS,
) -> None:
    """Fit to (codes, what the flat chart leaves out).

    Width and strength are those with the smallest squared error on validation rows, where no
    correction at all is a candidate too.
    """
    (codes, rest), (held_codes, held_rest) = train, validation
    curve.centres.copy_(codes)
    directions = torch.linalg.svd(rest, full_matrices=False).Vh[: len(curve.basis)]
    curve.basis.zero_()
    curve.basis[: len(directions)] = directions
    scale = codes.square().sum(1).mean().sqrt()
    targets, held_targets = rest @ curve.basis.T, held_rest @ curve.basis.T
    best = held_targets.square().sum().item()
    for width in (scale * w for w in widths):
        kernel = gaussian_kernel(codes, codes, width).double()
        eigenvalues, vectors = torch.linalg.eigh(kernel)
        rotated = vectors.T @ targets.double()
        held_kernel = gaussian_kernel(held_codes, codes, width)
        for strength in strengths:
            dual = (vectors @ (rotated / (eigenvalues.clamp_min(0) + strength)[:, None])).float()
            error = (held_kernel @ dual - held_targets).square().sum().item()
            if error < best:
                best = error
                curve.dual.copy_(dual)
                curve.width.copy_(width)
