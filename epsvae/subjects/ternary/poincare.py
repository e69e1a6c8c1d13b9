"""The Poincaré ball of curvature 1: the two formulas that this project needs.

Own closed forms because they sit in the innermost loop of the factory; the tests hold them
against geoopt. Source: Nickel & Kiela, "Poincaré Embeddings", 2017.
"""

import torch
from jaxtyping import Float
from torch import Tensor

EPSILON = 1e-6
"""Distance kept from the boundary and from acosh(1), where gradients are infinite."""


def distance(
    x: Float[Tensor, "*batch dim"], y: Float[Tensor, "*batch dim"]
) -> Float[Tensor, "*batch"]:
    """Poincaré distance acosh(1 + 2 |x-y|^2 / ((1-|x|^2) (1-|y|^2))), in [0, inf).

    Law: symmetric; d(0, x) = `radius`(x). Gradients are finite everywhere, also for x = y. Exact to
    1e-4 in float32 for norms up to 0.999; beyond, the boundary is kept at a finite distance.
    """
    gap = (x - y).square().sum(-1)
    return from_gap(gap, (1 - x.square().sum(-1)) * (1 - y.square().sum(-1)))


def from_gap(
    gap: Float[Tensor, "*batch"], room: Float[Tensor, "*batch"]
) -> Float[Tensor, "*batch"]:
    """The same from |x-y|^2 and (1-|x|^2) (1-|y|^2), for who has these already."""
    u = 2 * gap / room.clamp_min(EPSILON)
    # acosh(1 + u) = log1p(u + sqrt(u (u + 2))), exact for small u where acosh(1 + u) is not.
    return torch.log1p(u + torch.sqrt(u * (u + 2) + EPSILON**2))


def radius(x: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
    """Hyperbolic distance from the origin, 2 artanh |x|: monotone in the norm."""
    return 2 * torch.atanh(x.norm(dim=-1).clamp_max(1 - EPSILON))
