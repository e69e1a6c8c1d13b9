"""What is scored of one checkpoint's prediction, before anything is averaged."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float

from epsvae.subjects.ternary import METRIC_NAMES, poincare
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.ranges import inside_ball


@dataclass(frozen=True, eq=False)
class Scores:
    """Per-checkpoint scores of one row on one split; n checkpoints."""

    runs: np.ndarray
    """Run of each checkpoint: the unit that intervals resample."""
    predicted: Float[np.ndarray, "n 3"]
    true: Float[np.ndarray, "n 3"]
    embedding: dict[str, Float[np.ndarray, "n"]]
    """squared_error, mean_squared_error (the training mean's), cosine, mean_cosine,
    poincare_error; empty for a row that predicts no embeddings."""


def score(
    prediction: Prediction, split: ExtractedSplit, mean: Float[np.ndarray, "anchors dim"]
) -> Scores:
    """Compare a prediction with a split; `mean` is the training mean embedding, by runs."""
    runs = split.index["run"].to_numpy(dtype=object)
    embedding = {}
    if prediction.embeddings is not None:
        embedding = _embedding_scores(prediction.embeddings, split.embeddings[:], mean)
    return Scores(runs, prediction.metrics, split.metrics[:], embedding)


def _embedding_scores(
    predicted: Float[np.ndarray, "n anchors dim"],
    true: Float[np.ndarray, "n anchors dim"],
    mean: Float[np.ndarray, "anchors dim"],
) -> dict[str, Float[np.ndarray, "n"]]:
    inside = inside_ball(torch.tensor(predicted, dtype=torch.float32))
    distance = poincare.distance(inside, torch.tensor(true))
    return {
        "squared_error": np.square(predicted - true).sum((1, 2), dtype="f8"),
        "mean_squared_error": np.square(mean - true).sum((1, 2), dtype="f8"),
        "cosine": _cosine(predicted, true),
        "mean_cosine": _cosine(np.broadcast_to(mean, true.shape), true),
        "poincare_error": distance.mean(1).double().numpy(),
    }


def _cosine(
    a: Float[np.ndarray, "n anchors dim"], b: Float[np.ndarray, "n anchors dim"]
) -> Float[np.ndarray, "n"]:
    """Cosine of flattened embeddings, 0 for a zero vector."""
    dot = np.einsum("nad,nad->n", a, b, dtype="f8")
    norms = np.sqrt(
        np.einsum("nad,nad->n", a, a, dtype="f8") * np.einsum("nad,nad->n", b, b, dtype="f8")
    )
    return np.divide(dot, norms, out=np.zeros_like(dot), where=norms > 0)


def absolute_errors(scores: Scores) -> dict[str, Float[np.ndarray, "n"]]:
    """|predicted - true| of each metric, by name."""
    errors = np.abs(scores.predicted - scores.true)
    return dict(zip(METRIC_NAMES, errors.T, strict=True))
