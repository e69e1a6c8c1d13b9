"""What rows learn to predict: principal codes of the embeddings, and metrics without bounds."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import embeddings_of, metrics_of
from epsvae.subjects.ternary.map.fit import fit_decoder, principal_codes
from epsvae.subjects.ternary.map.model import MapConfig
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.ranges import link, unlink

N_CODES = MapConfig().geometry_dim
"""As many as the default map has for the anchors."""


@dataclass(frozen=True, eq=False)
class Targets:
    """The scales that `fit_targets` learned from training checkpoints."""

    decoder: nn.Linear
    """Codes to flattened embeddings: mean and leading principal components, one scale for all."""
    shape: tuple[int, int]
    """(anchors, dim)."""
    shift: Float[Tensor, "3"]
    scale: Float[Tensor, "3"]

    @property
    def n_codes(self) -> int:
        """How many codes stand for the embeddings."""
        return self.decoder.in_features

    @torch.no_grad()
    def codes(self, split: ExtractedSplit) -> Float[Tensor, "n codes"]:
        """True codes of a split."""
        return principal_codes(self.decoder, embeddings_of(split))

    @torch.no_grad()
    def of(self, split: ExtractedSplit) -> Float[Tensor, "n outputs"]:
        """True codes, then the three metrics on the standardised scale without bounds."""
        linked = (link(metrics_of(split)) - self.shift) / self.scale
        return torch.cat([self.codes(split), linked], dim=1)

    @torch.no_grad()
    def embeddings(self, codes: Float[Tensor, "n codes"]) -> Float[np.ndarray, "n anchors dim"]:
        """Embeddings behind codes."""
        return self.decoder(codes).unflatten(1, self.shape).numpy()

    def prediction(self, outputs: Float[Tensor, "n outputs"]) -> Prediction:
        """What outputs of the kind of `of` stand for."""
        metrics = unlink(outputs[:, self.n_codes :] * self.scale + self.shift)
        return Prediction(self.embeddings(outputs[:, : self.n_codes]), metrics.numpy())


@torch.no_grad()
def fit_targets(train: ExtractedSplit) -> Targets:
    """Scales of a training split: at most `N_CODES` codes, fewer for fewer checkpoints."""
    n, *shape = train.embeddings.shape
    decoder = nn.Linear(min(N_CODES, n - 1), shape[0] * shape[1])
    fit_decoder(decoder, embeddings_of(train))
    linked = link(metrics_of(train))
    return Targets(decoder.requires_grad_(False), tuple(shape), linked.mean(0), linked.std(0))
