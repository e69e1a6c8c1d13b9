"""The library's frame: checkpoints that live in another one are turned into it before reading.

Runs of one base share a frame of embedding space. Another base has its own, arbitrary up to a
rotation that no metric sees. Orthogonal Procrustes alignment (Schönemann, 1966) of what the probes
gave to the library's mean takes such a checkpoint into the library's frame.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

NATIVE_SHARE = 0.5
"""Share of the smallest similarity of a training checkpoint below which one is foreign."""


class Frame(nn.Module):
    """Mean probe points of the library, and how similar to them a native checkpoint is at least."""

    reference: Tensor
    threshold: Tensor

    def __init__(self, n_probes: int, dim: int) -> None:
        super().__init__()
        self.register_buffer("reference", torch.zeros(n_probes, dim))
        self.register_buffer("threshold", torch.tensor(-torch.inf))

    @torch.no_grad()
    def fit(self, points: Float[Tensor, "n probes dim"]) -> None:
        """Take the frame of the training checkpoints."""
        self.reference.copy_(points.mean(0))
        self.threshold.copy_(NATIVE_SHARE * self.similarity(points).min())

    def similarity(self, points: Float[Tensor, "n probes dim"]) -> Float[Tensor, "n"]:
        """Cosine of each checkpoint's probe points with the library's mean ones."""
        return F.cosine_similarity(points.flatten(1), self.reference.flatten()[None], dim=1)

    def is_foreign(self, points: Float[Tensor, "n probes dim"]) -> Bool[Tensor, "n"]:
        """Which checkpoints live in another frame."""
        return self.similarity(points) < self.threshold

    def forward(self, points: Float[Tensor, "n probes dim"]) -> Float[Tensor, "n probes dim"]:
        """Points in the library's frame; those of native checkpoints as they are."""
        foreign = self.is_foreign(points)
        if not foreign.any():
            return points
        turned = points.clone()
        turned[foreign] = procrustes(points[foreign], self.reference)
        return turned


def procrustes(
    points: Float[Tensor, "*batch n dim"], target: Float[Tensor, "*#batch n dim"]
) -> Float[Tensor, "*batch n dim"]:
    """Points turned (rotated, perhaps mirrored) to lie as close to the target as they can."""
    u, _, vh = torch.linalg.svd(points.mT @ target)
    return points @ (u @ vh)
