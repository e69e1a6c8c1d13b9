"""New weights without a map: what every virtual checkpoint is held against.

A spherical average of two checkpoints, a checkpoint plus noise. Vectors hold all parameters in the
order of `all_layout`; the max radius, which comes last, is averaged linearly and gets no noise.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.network import Architecture
from epsvae.uses.average import Share, linear_average

PARALLEL = 1e-4
"""Sine of the angle below which a spherical average is a linear one."""
TINY = 1e-12


def spherical_average(
    a: Float[Tensor, "*batch weights"],
    b: Float[Tensor, "*batch weights"],
    architecture: Architecture,
    share: Share = 0.5,
) -> Float[Tensor, "*batch weights"]:
    """Each parameter on the great circle from a's to b's (slerp; Shoemake, 1985).

    Law: (sin((1 - s) w) a + sin(s w) b) / sin(w), w the angle between a and b; linear where they
    are parallel.
    """
    layout = all_layout(architecture)
    parts = {
        name: linear_average(a[..., where], b[..., where], share)
        if name == MAX_RADIUS
        else _slerp(a[..., where], b[..., where], share)
        for name, where in layout.slices.items()
    }
    return torch.cat(list(parts.values()), dim=-1)


def _slerp(
    a: Float[Tensor, "*batch k"], b: Float[Tensor, "*batch k"], share: Share
) -> Float[Tensor, "*batch k"]:
    norms = a.norm(dim=-1, keepdim=True) * b.norm(dim=-1, keepdim=True)
    angle = ((a * b).sum(-1, keepdim=True) / norms.clamp_min(TINY)).clamp(-1, 1).acos()
    sine = angle.sin()
    arc = (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / sine.clamp_min(TINY)
    return torch.where((sine < PARALLEL) | (norms < TINY), linear_average(a, b, share), arc)


def add_noise(
    weights: Float[Tensor, "*batch weights"],
    architecture: Architecture,
    size: float,
    generator: torch.Generator,
) -> Float[Tensor, "*batch weights"]:
    """Weights plus normal noise whose spread is `size` times each parameter's root mean square."""
    noisy = weights.clone()
    for name, where in all_layout(architecture).slices.items():
        if name != MAX_RADIUS:
            part = weights[..., where]
            spread = size * part.square().mean(-1, keepdim=True).sqrt()
            noisy[..., where] += spread * torch.randn(part.shape, generator=generator)
    return noisy
