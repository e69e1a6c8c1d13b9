"""The row that sees nothing."""

import numpy as np

from epsvae.library.extracted import ExtractedSplit
from epsvae.map.data import MapData, run_mean, runs_of
from epsvae.map.prediction import Prediction
from epsvae.map.rows.row import Predictor


def training_mean(data: MapData, seed: int = 0) -> Predictor:
    """The run-balanced mean of the training checkpoints, whatever the input."""
    runs = runs_of(data.train)
    points = run_mean(data.train.embeddings[:], runs).astype(np.float32)
    metrics = run_mean(data.train.metrics[:], runs)

    def predict(split: ExtractedSplit) -> Prediction:
        n = len(split.metrics)
        return Prediction(np.tile(points, (n, 1, 1)), np.tile(metrics, (n, 1)))

    return predict
