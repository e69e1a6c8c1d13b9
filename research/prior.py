"""How close the checkpoints' z lie to the prior from which a variational autoencoder samples."""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

TINY = 1e-12


@dataclass(frozen=True)
class PriorGap:
    """The aggregate posterior beside the prior N(0, diag(prior_std^2)), in nats."""

    marginals: float
    """KL of each coordinate's normal from the prior's, summed: wrong means and spreads."""
    dependence: float
    """Total correlation of the normal with the aggregate's covariance: what the prior, whose
    coordinates are independent, cannot know."""
    kurtosis: float
    """Median over coordinates of the excess kurtosis: 0 for a normal one, above it for long tails.
    """

    @property
    def kl(self) -> float:
        """KL of the aggregate's normal from the prior: `marginals` + `dependence`."""
        return self.marginals + self.dependence


def prior_gap(
    mu: Float[Tensor, "n latent"],
    logvar: Float[Tensor, "latent"],
    prior_std: Float[Tensor, "latent"],
) -> PriorGap:
    """Compare the aggregate posterior (Makhzani et al., 2016) with the prior.

    The aggregate of N(mu_i, diag exp(logvar)) has the mean of the mu and the covariance
    cov(mu) + diag exp(logvar). Both are counted in units of `prior_std`.
    """
    scaled = mu.double() / prior_std
    noise = logvar.double().exp() / prior_std.double().square()
    covariance = torch.atleast_2d(torch.cov(scaled.T)) + noise.diag()
    mean, variance = scaled.mean(0), covariance.diagonal()
    marginals = 0.5 * (mean.square() + variance - 1 - variance.log()).sum()
    dependence = 0.5 * (variance.log().sum() - torch.logdet(covariance))
    fourth = (scaled - mean).pow(4).mean(0)
    kurtosis = fourth / scaled.var(0, correction=0).square().clamp_min(TINY) - 3
    return PriorGap(marginals.item(), dependence.item(), kurtosis.median().item())
