"""The sweep: probe inputs carried through a checkpoint's own matrices.

A checkpoint is read by what arrives when a few dozen fixed inputs pass through its encoder A, its
projection A and its decoder. The reading is a function of the parameters alone, does not change
when hidden units are permuted or ReLU units rescaled, and works for any widths and depths. The
closest published relative is ProbeGen (Kahana et al., 2024), whose probes are generated.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.ternary import (
    N_OPERATIONS,
    Architecture,
    decode,
    encode,
    operation_trits,
    poincare,
    project,
)
from epsvae.ternary.network import TRIT_VALUES, State

TINY = 1e-3
"""Added to a spread that may be zero."""


@dataclass(frozen=True, eq=False)
class Readings:
    """What arrives at the end of the sweep, one row a checkpoint."""

    points: Float[Tensor, "n probes dim"]
    """Probes in the Poincaré ball."""
    margins: Float[Tensor, "n probes"]
    """Smallest logit margin of a probe's nine trits; positive where all are reconstructed."""

    def geometry(self) -> Float[Tensor, "n features"]:
        """Coordinates of all probes: from them the anchors' coordinates are nearly linear."""
        return self.points.flatten(1)

    def reconstruction(self) -> Float[Tensor, "n features"]:
        """Soft counts of reconstructed probes, sharp and wide: coverage is a share of such."""
        return torch.cat([torch.sigmoid(2 * self.margins), torch.tanh(self.margins / 4)], dim=1)

    def distances(self) -> Float[Tensor, "n pairs"]:
        """Standardised pairwise distances: a linear function of them is a Pearson correlation."""
        n_probes = self.points.shape[1]
        i, j = torch.triu_indices(n_probes, n_probes, 1)
        return standardise(poincare.distance(self.points[:, i], self.points[:, j]))

    def radii(self) -> Float[Tensor, "n probes"]:
        """Standardised radii: a linear function of them is a correlation with the hierarchy."""
        return standardise(poincare.radius(self.points))

    def metric_features(self) -> tuple[Tensor, Tensor, Tensor]:
        """What coverage, distance correlation and radial hierarchy are read from."""
        return self.reconstruction(), self.distances(), self.radii()


def standardise(values: Float[Tensor, "n features"]) -> Float[Tensor, "n features"]:
    """Each checkpoint's values shifted and scaled to mean 0 and spread 1."""
    centred = values - values.mean(1, keepdim=True)
    return centred / (centred.square().mean(1, keepdim=True).sqrt() + TINY)


class Sweep(nn.Module):
    """Probes that start as random operations and may be learned.

    `probes` (n, 9) are continuous inputs; `wanted` (n, 9) are the trits from which they started.
    """

    probes: Tensor
    wanted: Tensor

    def __init__(self, n_probes: int, generator: torch.Generator) -> None:
        super().__init__()
        chosen = torch.randperm(N_OPERATIONS, generator=generator)[:n_probes]
        trits = operation_trits(chosen)
        self.probes = nn.Parameter(trits.clone())
        self.register_buffer("wanted", trits)

    def forward(
        self, state: State, architecture: Architecture, max_radius: Float[Tensor, "n"]
    ) -> Readings:
        """Readings of n stacked checkpoints (tensors of `state` carry a leading n)."""
        mu = encode(state, architecture, self.probes)
        points = project(state, architecture, mu, max_radius.view(-1, 1, 1))
        return Readings(points, self._margins(decode(state, architecture, mu)))

    def _margins(self, logits: Float[Tensor, "n probes 9 3"]) -> Float[Tensor, "n probes"]:
        right = F.one_hot(self.wanted.long() + 1, TRIT_VALUES).bool()
        true = (logits * right).sum(-1)
        other = logits.masked_fill(right, -torch.inf).amax(-1)
        return (true - other).amin(-1)
