"""What a row of the evaluation table predicts, and how a trained map predicts it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import Rows, key_weights

BATCH = 64


@dataclass(frozen=True, eq=False)
class Prediction:
    """Predicted behaviour of the n checkpoints of a split, in the split's order."""

    embeddings: Float[np.ndarray, "n anchors dim"] | None
    """Anchor embeddings; None for a row that does not predict them, which is not the same as 0."""
    metrics: Float[np.ndarray, "n 3"]
    """In the order of `METRIC_NAMES`."""


@runtime_checkable
class CheckpointMap(Protocol):
    """What every trained map offers. One vector or a batch; the output has the matching rank."""

    def encode(self, weights: Float[Tensor, "*batch weights"]) -> Float[Tensor, "*batch latent"]:
        """Latent z: the posterior's mean."""

    def decode_embeddings(
        self, z: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch anchors dim"]:
        """Anchor embeddings."""

    def predict_metrics(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch 3"]:
        """Metrics, in the order of `METRIC_NAMES`."""


@torch.no_grad()
def predict_split(
    model: CheckpointMap,
    split: ExtractedSplit,
    read: Callable[[ExtractedSplit, Rows], Tensor] = key_weights,
    embeddings: bool = True,
) -> Prediction:
    """Predict a whole split in batches; `read` decides what of a checkpoint the model sees.

    The model must be in evaluation mode. ``embeddings=False`` for a model that has no decoder.
    """
    points, metrics = [], []
    for rows in np.array_split(np.arange(len(split.metrics)), -(-len(split.metrics) // BATCH)):
        z = model.encode(read(split, rows))
        metrics.append(model.predict_metrics(z).numpy())
        if embeddings:
            points.append(model.decode_embeddings(z).numpy())
    return Prediction(np.concatenate(points) if points else None, np.concatenate(metrics))
