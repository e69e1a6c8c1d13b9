"""The sweep: probe inputs carried through a checkpoint's own matrices.

A checkpoint is read by what arrives when a few dozen fixed inputs pass through its encoder A, its
projection A and its decoder. The reading is a function of the parameters alone, does not change
when hidden units are permuted or ReLU units rescaled, and works for any widths and depths. The
closest published relative is ProbeGen (Kahana et al., 2024), whose probes are generated.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.subjects.ternary import (
    N_OPERATIONS,
    Architecture,
    decode,
    encode,
    operation_trits,
    poincare,
    project,
)
from epsvae.subjects.ternary.network import TRIT_VALUES, State

TINY = 1e-3
"""Added to a spread that may be zero."""
PROBES_AT_ONCE, PAIRS_AT_ONCE = 2048, 131_072
"""Probes, and pairs of them, of all checkpoints together: few enough to stay in a core's caches."""


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
        at_once = max(1, PAIRS_AT_ONCE // self.points.shape[1] ** 2)
        parts = [standardise(pairwise_distances(few)) for few in self.points.split(at_once)]
        return torch.cat(parts)

    def radii(self) -> Float[Tensor, "n probes"]:
        """Standardised radii: a linear function of them is a correlation with the hierarchy."""
        return standardise(poincare.radius(self.points))

    def metric_features(self) -> tuple[Tensor, Tensor, Tensor]:
        """What coverage, distance correlation and radial hierarchy are read from."""
        return self.reconstruction(), self.distances(), self.radii()


def standardise(values: Float[Tensor, "n features"]) -> Float[Tensor, "n features"]:
    """Each checkpoint's values shifted and scaled to mean 0 and spread 1."""
    centred = values - values.mean(1, keepdim=True)
    spread = centred.norm(dim=1, keepdim=True) / values.shape[1] ** 0.5
    return centred / (spread + TINY)


def pairwise_distances(points: Float[Tensor, "n probes dim"]) -> Float[Tensor, "n pairs"]:
    """Poincaré distances of the pairs i < j of each checkpoint's probes, in the order of `pdist`.

    Law: equals `poincare.distance` of the two points, an order of magnitude faster, because no
    point is copied.
    """
    n_probes = points.shape[1]
    i, j = torch.triu_indices(n_probes, n_probes, 1)
    gap = torch.stack([F.pdist(probes) for probes in points]).square()
    room = 1 - points.square().sum(-1)
    room = room.index_select(1, i) * room.index_select(1, j)
    u = 2 * gap / room.clamp_min(poincare.EPSILON)
    return torch.log1p(u + torch.sqrt(u * (u + 2) + poincare.EPSILON**2))


def split_state(state: State, blocks: tuple[str, ...], at_once: int) -> Iterator[State]:
    """The parameters of some blocks of a stack of checkpoints, a few checkpoints at a time."""
    names = [name for name in state if name.startswith(blocks)]
    for tensors in zip(*(state[name].split(at_once) for name in names), strict=True):
        yield dict(zip(names, tensors, strict=True))


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
        """Readings of n stacked checkpoints (tensors of `state` carry a leading n).

        A few at a time, so that what one layer hands to the next stays in a core's caches.
        """
        at_once = max(1, PROBES_AT_ONCE // len(self.probes))
        if len(max_radius) <= at_once:
            return Readings(*self._read(state, architecture, max_radius))
        blocks = ("encoder_A", "decoder_A", architecture.projections[0])
        chunks = split_state(state, blocks, at_once)
        parts = [
            self._read(chunk, architecture, radii)
            for chunk, radii in zip(chunks, max_radius.split(at_once), strict=True)
        ]
        return Readings(torch.cat([p for p, _ in parts]), torch.cat([m for _, m in parts]))

    def _read(
        self, state: State, architecture: Architecture, max_radius: Float[Tensor, "n"]
    ) -> tuple[Float[Tensor, "n probes dim"], Float[Tensor, "n probes"]]:
        mu = encode(state, architecture, self.probes)
        points = project(state, architecture, mu, max_radius.view(-1, 1, 1))
        return points, self._margins(decode(state, architecture, mu))

    def _margins(self, logits: Float[Tensor, "n probes 9 3"]) -> Float[Tensor, "n probes"]:
        right = self.wanted.long().unsqueeze(-1) + 1
        order = (right + torch.arange(TRIT_VALUES)) % TRIT_VALUES
        true, *others = logits.gather(-1, order.expand_as(logits)).unbind(-1)
        return (true - torch.maximum(*others)).amin(-1)
