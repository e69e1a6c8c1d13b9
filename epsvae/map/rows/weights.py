"""Rows that are linear in the flat key weights: ridge, ridge on principal components, PLS."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from sklearn.cross_decomposition import PLSRegression

from epsvae.library.extracted import ExtractedSplit
from epsvae.map.data import MapData
from epsvae.map.prediction import Prediction
from epsvae.map.rows.row import Predictor
from epsvae.map.rows.targets import bounded, fit_targets
from epsvae.ternary import METRIC_NAMES

RIDGES = tuple(10.0**k for k in range(-6, 3))
COMPONENTS = 64
"""Principal components that `pca_ridge` keeps."""
PLS_COMPONENTS = (4, 8, 16, 32, 64)
PLS_ITERATIONS, PLS_TOLERANCE = 2000, 1e-4
CHUNK = 4096
"""Columns of the weight matrices that are in memory at a time."""
TINY = 1e-7
"""Share of the largest variance below which a direction is rounding noise."""


@dataclass(frozen=True, eq=False)
class WeightSpace:
    """Coordinates in the span of the centred training weights, by falling variance.

    What is linear in the weights and learned from these checkpoints needs no others.
    """

    train: ExtractedSplit
    centre: Float[np.ndarray, "weights"]
    variances: Float[np.ndarray, "k"]
    """Sums of squares of the training checkpoints' coordinates; their mean is 1."""
    basis: Float[np.ndarray, "n k"]

    def coordinates(self, split: ExtractedSplit) -> Float[np.ndarray, "m k"]:
        """Coordinates of the checkpoints of a split of the same architecture."""
        return _products(split, self.train, self.centre) @ self.basis


@lru_cache(maxsize=2)
def weight_space(train: ExtractedSplit) -> WeightSpace:
    """The space that a training split spans, computed once."""
    centre = train.weights[:].mean(0)
    gram = _products(train, train, centre)
    scale = float(np.trace(gram)) / len(gram)
    eigenvalues, basis = np.linalg.eigh(gram / scale)
    kept = (eigenvalues > TINY * eigenvalues.max()).nonzero()[0][::-1]
    variances = eigenvalues[kept]
    return WeightSpace(train, centre, variances, basis[:, kept] / np.sqrt(variances) / scale)


def _products(
    a: ExtractedSplit, b: ExtractedSplit, centre: Float[np.ndarray, "weights"]
) -> Float[np.ndarray, "n m"]:
    """Inner products of centred key weights, a few columns at a time, summed in float64."""
    total = torch.zeros(len(a.weights), len(b.weights), dtype=torch.float64)
    for start in range(0, len(centre), CHUNK):
        columns = slice(start, start + CHUNK)
        x, y = (torch.from_numpy(part.weights[:, columns] - centre[columns]) for part in (a, b))
        total += (x @ y.T).double()
    return total.numpy()


def ridge_on_weights(data: MapData, seed: int = 0) -> Predictor:
    """Linear ridge regression from flat key weights to embeddings and metrics.

    Solved in the space of the training checkpoints; its strength is chosen on validation runs, by
    the embeddings' squared error for the embeddings and by the metrics' for the metrics.
    """
    return _ridge(data, len(data.train.metrics))


def pca_ridge(data: MapData, seed: int = 0) -> Predictor:
    """The same on the leading principal components of the key weights alone."""
    return _ridge(data, COMPONENTS)


def _ridge(data: MapData, components: int) -> Predictor:
    space, shape = weight_space(data.train), data.train.embeddings.shape[1:]
    x, held_out = (space.coordinates(s)[:, :components] for s in (data.train, data.validation))
    fits = [
        _best_slope(space, x, wanted(data.train), held_out, wanted(data.validation))
        for wanted in (_points, _metrics)
    ]

    def predict(split: ExtractedSplit) -> Prediction:
        x = space.coordinates(split)[:, :components]
        points, metrics = (x @ slope + mean for slope, mean in fits)
        return Prediction(points.reshape(-1, *shape).astype(np.float32), bounded(metrics))

    return predict


def _points(split: ExtractedSplit) -> Float[np.ndarray, "n points"]:
    return split.embeddings[:].reshape(len(split.metrics), -1).astype("f8")


def _metrics(split: ExtractedSplit) -> Float[np.ndarray, "n 3"]:
    return split.metrics[:]


def _best_slope(
    space: WeightSpace,
    x: Float[np.ndarray, "n k"],
    y: Float[np.ndarray, "n targets"],
    held_out: Float[np.ndarray, "m k"],
    truth: Float[np.ndarray, "m targets"],
) -> tuple[Float[np.ndarray, "k targets"], Float[np.ndarray, "targets"]]:
    """Slope and mean of the ridge that is best on the held-out rows; columns of x are orthogonal."""
    mean, variances = y.mean(0), space.variances[: x.shape[1]]
    products = x.T @ (y - mean)
    slopes = [products / (variances + ridge)[:, None] for ridge in RIDGES]
    errors = [np.square(held_out @ slope + mean - truth).mean() for slope in slopes]
    return slopes[int(np.argmin(errors))], mean


def partial_least_squares(data: MapData, seed: int = 0) -> Predictor:
    """Partial least squares (Wold et al., 2001) from key weights to codes and metrics at once.

    Codes and metrics weigh the same; the number of components is chosen on validation runs.
    """
    space, targets = weight_space(data.train), fit_targets(data.train)
    x, y, truth = space.coordinates(data.train), *(
        np.column_stack([targets.codes(s).numpy(), s.metrics]) for s in (data.train, data.validation)
    )
    mean = y.mean(0)
    scale = np.full(len(mean), np.sqrt(np.square(y - mean)[:, : targets.n_codes].mean()))
    scale[targets.n_codes :] = y[:, targets.n_codes :].std(0)
    scale[targets.n_codes :] *= np.sqrt(len(METRIC_NAMES) / targets.n_codes)
    most = min(PLS_COMPONENTS[-1], x.shape[1])
    model = PLSRegression(most, scale=False, max_iter=PLS_ITERATIONS, tol=PLS_TOLERANCE)
    model.fit(x, (y - mean) / scale)
    slopes = [
        model.x_rotations_[:, :k] @ model.y_loadings_[:, :k].T for k in PLS_COMPONENTS if k <= most
    ]
    held_out = space.coordinates(data.validation)
    errors = [np.square(held_out @ slope - (truth - mean) / scale).mean() for slope in slopes]
    slope = slopes[int(np.argmin(errors))]

    def predict(split: ExtractedSplit) -> Prediction:
        found = space.coordinates(split) @ slope * scale + mean
        codes = torch.from_numpy(found[:, : targets.n_codes]).float()
        return Prediction(targets.embeddings(codes), bounded(found[:, targets.n_codes :]))

    return predict
