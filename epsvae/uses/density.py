"""Where checkpoints lie in z: a density to draw new points from.

Each known checkpoint is the centre of a normal hill that has the shape of its neighbourhood
(manifold Parzen windows; Vincent and Bengio, 2003). One normal distribution for all of z, or one
spread a coordinate, puts most of its mass where no checkpoint is, and what is decoded there does
not do what was promised.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import EpsvaeError

NEIGHBOURS = 40
"""Checkpoints that shape a hill; of 10, 20, 40 and 80 the best for validation checkpoints."""
WIDTH = 1.0
"""Standard deviations of a hill in units of its neighbourhood's; narrower fits new runs worse."""
UPRIGHT = 0.7
"""Share of the covariance that is kept on the diagonal only: few neighbours say little else."""
FLOOR = 1e-6
"""Smallest variance in a direction, in units of the whole library's."""
TINY = 1e-12
POINTS_AT_ONCE = 512


@dataclass(frozen=True, eq=False)
class Density:
    """Hills of equal weight around known points, in float64."""

    centres: Float[Tensor, "n latent"]
    factors: Float[Tensor, "n latent latent"]
    """Lower Cholesky factor of each hill's covariance."""

    def sample(self, n: int, generator: torch.Generator) -> Float[Tensor, "n latent"]:
        """n new points, float32: a centre at random, then a step of its hill."""
        size = self.centres.shape
        chosen = torch.randint(size[0], (n,), generator=generator)
        noise = torch.randn(n, size[1], generator=generator, dtype=torch.float64)
        z = self.centres[chosen]
        for hill in chosen.unique():
            rows = chosen == hill
            z[rows] += noise[rows] @ self.factors[hill].T
        return z.float()

    def log_prob(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch"]:
        """Natural logarithm of the density, float64; gradients flow to z."""
        batch = z.reshape(-1, z.shape[-1]).double()
        parts = [self._log_prob(part) for part in batch.split(POINTS_AT_ONCE)]
        return torch.cat(parts).view(z.shape[:-1])

    def _log_prob(self, z: Float[Tensor, "m latent"]) -> Float[Tensor, "m"]:
        logs = [_log_normal(z, c, f) for c, f in zip(self.centres, self.factors, strict=True)]
        return torch.stack(logs).logsumexp(0) - math.log(len(self.centres))


def _log_normal(
    z: Float[Tensor, "m latent"],
    centre: Float[Tensor, "latent"],
    factor: Float[Tensor, "latent latent"],
) -> Float[Tensor, "m"]:
    scaled = torch.linalg.solve_triangular(factor, (z - centre).T, upper=False)
    log_size = factor.diagonal().log().sum() + len(centre) / 2 * math.log(2 * math.pi)
    return -scaled.square().sum(0) / 2 - log_size


def fit_density(
    z: Float[Tensor, "n latent"],
    neighbours: int = NEIGHBOURS,
    width: float = WIDTH,
    upright: float = UPRIGHT,
) -> Density:
    """A density around known checkpoints, which need no labels; it draws no random number.

    Law: covariance of hill i = width² mean over its neighbours j of (z_j - z_i)(z_j - z_i)', with
    what is off the diagonal shrunk by 1 - upright. Raises EpsvaeError for fewer than two points
    and for NaN or infinity.
    """
    if len(z) < 2:
        raise EpsvaeError(f"z: expected at least 2 checkpoints to fit a density, found {len(z)}")
    if not z.isfinite().all():
        raise EpsvaeError("z: expected finite coordinates, found NaN or infinity")
    points = z.detach().double()
    near = torch.cdist(points, points).topk(min(neighbours, len(z)), largest=False).indices
    offsets = points[near] - points[:, None]
    covariance = offsets.mT @ offsets / near.shape[1]
    own = torch.diag_embed(covariance.diagonal(dim1=1, dim2=2))
    floor = FLOOR * points.var(0, correction=0) + TINY
    hills = (1 - upright) * covariance + upright * own + torch.diag(floor)
    return Density(points, width * torch.linalg.cholesky(hills))
