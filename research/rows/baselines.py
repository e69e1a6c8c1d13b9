"""Rows that the map is held against: simple predictors, each labelled by what it may see."""

from collections.abc import Callable
from typing import ParamSpec

import numpy as np
import torch
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
RIDGES = tuple(10.0**k for k in range(-6, 3))
CHUNK = 4096
"""Columns of the weight matrices that are in memory at a time."""
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


def ridge_on_weights(data: MapData) -> Predictor:
    """Linear ridge regression from flat key weights to embeddings and metrics.

    Solved in the space of the training checkpoints; its strength is chosen on validation runs, by
    the embeddings' squared error for the embeddings and by the metrics' for the metrics.
    """
    train = data.train
    centre = train.weights[:].mean(0)
    gram = inner_products(train, train, centre)
    scale = float(np.trace(gram)) / len(gram)
    eigenvalues, basis = np.linalg.eigh(gram / scale)
    n, shape = len(gram), train.embeddings.shape[1:]
    points = train.embeddings[:].reshape(n, -1).astype("f8")
    targets = {"points": points, "metrics": train.metrics[:]}
    held_out = {
        "points": data.validation.embeddings[:].reshape(len(data.validation.metrics), -1),
        "metrics": data.validation.metrics[:],
    }
    kernel = inner_products(data.validation, train, centre) / scale
    duals = {
        what: _best_dual(eigenvalues, basis, targets[what], kernel, held_out[what])
        for what in targets
    }

    def predict(split: ExtractedSplit) -> Prediction:
        kernel = inner_products(split, train, centre) / scale
        predicted = {what: kernel @ dual + targets[what].mean(0) for what, dual in duals.items()}
        return Prediction(
            predicted["points"].reshape(-1, *shape).astype(np.float32), predicted["metrics"]
        )

    return predict


def _best_dual(
    eigenvalues: Float[np.ndarray, "n"],
    basis: Float[np.ndarray, "n n"],
    targets: Float[np.ndarray, "n k"],
    kernel: Float[np.ndarray, "m n"],
    held_out: Float[np.ndarray, "m k"],
) -> Float[np.ndarray, "n k"]:
    """Dual coefficients of the ridge that is best on the held-out rows."""
    mean = targets.mean(0)
    rotated = basis.T @ (targets - mean)
    duals = [basis @ (rotated / (eigenvalues.clip(0) + ridge)[:, None]) for ridge in RIDGES]
    errors = [np.square(kernel @ dual + mean - held_out).mean() for dual in duals]
    return duals[int(np.argmin(errors))]


def inner_products(
    a: ExtractedSplit, b: ExtractedSplit, centre: Float[np.ndarray, "weights"]
) -> Float[np.ndarray, "n m"]:
    """Inner products of centred key weights, a few columns at a time, summed in float64."""
    total = torch.zeros(len(a.weights), len(b.weights), dtype=torch.float64)
    for start in range(0, len(centre), CHUNK):
        columns = slice(start, start + CHUNK)
        x, y = (torch.from_numpy(part.weights[:, columns] - centre[columns]) for part in (a, b))
        total += (x @ y.T).double()
    return total.numpy()


def in_range(fit: Callable[P, Predictor]) -> Callable[P, Predictor]:
    """A fit whose predicted metrics are moved into their ranges: linear rows know of none."""

    def fit_in_range(*args: P.args, **kwargs: P.kwargs) -> Predictor:
        predict = fit(*args, **kwargs)

        def predict_in_range(split: ExtractedSplit) -> Prediction:
            found = predict(split)
            return Prediction(found.embeddings, np.clip(found.metrics, LOWEST, HIGHEST))

        return predict_in_range

    return fit_in_range
