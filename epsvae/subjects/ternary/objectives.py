"""What networks are trained on: the VAE loss of a base, the geometric losses of a run.

All losses keep a leading "runs" dimension where there is one, so that stacked networks train
independently: the sum over runs has the gradient of each run by itself.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from epsvae.subjects.ternary import poincare
from epsvae.subjects.ternary.operations import (
    VALUATION_COUNTS,
    operation_valuations,
    target_distance,
    target_radius,
)


def reconstruction_loss(
    logits: Float[Tensor, "*runs n 9 3"], trits: Float[Tensor, "*#runs n 9"]
) -> Float[Tensor, "*runs"]:
    """Cross-entropy of the nine trits, summed over trits and averaged over operations."""
    wanted = trits.long().add(1).expand(logits.shape[:-1])
    per_trit = F.cross_entropy(logits.flatten(0, -2), wanted.flatten(), reduction="none")
    return per_trit.view(logits.shape[:-1]).sum(-1).mean(-1)


def kl_divergence(
    mu: Float[Tensor, "*runs n latent"], logvar: Float[Tensor, "*runs n latent"]
) -> Float[Tensor, "*runs"]:
    """KL(N(mu, exp(logvar)) || N(0, 1)), summed over dimensions and averaged over operations."""
    return 0.5 * (mu.square() + logvar.exp() - 1 - logvar).sum(-1).mean(-1)


def geodesic_loss(
    embeddings: Float[Tensor, "*runs n dim"], index: Int[Tensor, "*runs n"]
) -> Float[Tensor, "*runs"]:
    """SmoothL1 between Poincaré distance and 3 exp(-v/3) over the n pairs (k, k + 1 mod n).

    In a batch drawn at random these are uniform pairs of operations.
    """
    distances = poincare.distance(embeddings, embeddings.roll(-1, dims=-2))
    wanted = target_distance(index, index.roll(-1, dims=-1))
    return F.smooth_l1_loss(distances, wanted, reduction="none").mean(-1)


def radial_loss(
    embeddings: Float[Tensor, "*runs n dim"], index: Int[Tensor, "*runs n"]
) -> Float[Tensor, "*runs"]:
    """Squared error of the norm against `target_radius`, rare valuations weighted up."""
    v = operation_valuations()[index]
    # The small offset keeps the gradient of the norm finite at the origin.
    radius = (embeddings.square().sum(-1) + poincare.EPSILON**2).sqrt()
    weight = radial_weights()[v]
    return (weight * (radius - target_radius(v)).square()).sum(-1) / weight.sum(-1)


def radial_weights() -> Float[Tensor, "10"]:
    """Weight of each valuation: the inverse square root of its frequency, 1 for valuation 0."""
    counts = torch.tensor(VALUATION_COUNTS, dtype=torch.float32)
    return (counts[0] / counts).sqrt()
