"""Rows that the map is held against: simple predictors, each labelled by what it may see."""

from collections.abc import Callable
from typing import ParamSpec

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData, mean_embedding, run_mean, runs_of
from epsvae.subjects.ternary.map.prediction import Prediction
from research.statistics import split_statistics

P = ParamSpec("P")
Predictor = Callable[[ExtractedSplit], Prediction]

MIN_LEAVES = (1, 2, 5)
TREES = 300
LOWEST, HIGHEST = (0.0, -1.0, -1.0), (1.0, 1.0, 1.0)
"""Ranges of the metrics, in the order of `METRIC_NAMES`."""


def training_mean(data: MapData) -> Predictor:
    """The run-balanced mean of the training checkpoints, whatever the input."""
    points = mean_embedding(data)
    metrics = run_mean(data.train.metrics[:], runs_of(data.train))

    def predict(split: ExtractedSplit) -> Prediction:
        n = len(split.metrics)
        return Prediction(np.tile(points, (n, 1, 1)), np.tile(metrics, (n, 1)))

    return predict


def nearest_neighbour(data: MapData) -> Predictor:
    """Behaviour of the training checkpoint with the closest standardised layer statistics."""
    scaler = StandardScaler().fit(split_statistics(data.train))
    search = NearestNeighbors(n_neighbors=1).fit(scaler.transform(split_statistics(data.train)))

    def predict(split: ExtractedSplit) -> Prediction:
        features = scaler.transform(split_statistics(split))
        nearest = search.kneighbors(features, return_distance=False)[:, 0]
        return Prediction(data.train.embeddings[nearest], data.train.metrics[nearest])

    return predict


def best_forest(
    train: tuple[Float[np.ndarray, "n features"], Float[np.ndarray, "n targets"]],
    validation: tuple[Float[np.ndarray, "m features"], Float[np.ndarray, "m targets"]],
    trees: int,
    seed: int,
) -> ExtraTreesRegressor:
    """The forest whose smallest leaf, of `MIN_LEAVES`, gives the least error on validation rows."""
    (x, y), (held_out, truth) = train, validation
    forests = [
        ExtraTreesRegressor(trees, min_samples_leaf=leaf, random_state=seed, n_jobs=1).fit(x, y)
        for leaf in MIN_LEAVES
    ]
    errors = [np.abs(forest.predict(held_out) - truth).mean() for forest in forests]
    return forests[int(np.argmin(errors))]


def in_range(fit: Callable[P, Predictor]) -> Callable[P, Predictor]:
    """A fit whose predicted metrics are moved into their ranges: linear rows know of none."""

    def fit_in_range(*args: P.args, **kwargs: P.kwargs) -> Predictor:
        predict = fit(*args, **kwargs)

        def predict_in_range(split: ExtractedSplit) -> Prediction:
            found = predict(split)
            return Prediction(found.embeddings, np.clip(found.metrics, LOWEST, HIGHEST))

        return predict_in_range

    return fit_in_range
