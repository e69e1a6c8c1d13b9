"""Rows that are linear in a few directions of the flat key weights: PCA ridge, PLS."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from sklearn.cross_decomposition import PLSRegression

from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.map.prediction import Prediction
from research.rows.baselines import RIDGES, inner_products
from research.rows.row import Predictor
from research.rows.targets import fit_targets

COMPONENTS = 64
"""Principal components that `pca_ridge` keeps: as many as z has coordinates."""
PLS_COMPONENTS = (4, 8, 16, 32, 64)
PLS_ITERATIONS, PLS_TOLERANCE = 2000, 1e-4
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
        return inner_products(split, self.train, self.centre) @ self.basis


@lru_cache(maxsize=2)
def weight_space(train: ExtractedSplit) -> WeightSpace:
    """The space that a training split spans, computed once."""
    centre = train.weights[:].mean(0)
    gram = inner_products(train, train, centre)
    scale = float(np.trace(gram)) / len(gram)
    eigenvalues, basis = np.linalg.eigh(gram / scale)
    kept = (eigenvalues > TINY * eigenvalues.max()).nonzero()[0][::-1]
    variances = eigenvalues[kept]
    return WeightSpace(train, centre, variances, basis[:, kept] / np.sqrt(variances) / scale)


def pca_ridge(data: MapData) -> Predictor:
    """Ridge regression on the leading principal components of the key weights.

    Its strength is chosen on validation runs, for the embeddings and for the metrics apart.
    """
    space, shape = weight_space(data.train), data.train.embeddings.shape[1:]
    x, held_out = (space.coordinates(s)[:, :COMPONENTS] for s in (data.train, data.validation))
    fits = [
        _best_slope(space, (x, wanted(data.train)), (held_out, wanted(data.validation)))
        for wanted in (_points, _metrics)
    ]

    def predict(split: ExtractedSplit) -> Prediction:
        x = space.coordinates(split)[:, :COMPONENTS]
        points, metrics = (x @ slope + mean for slope, mean in fits)
        return Prediction(points.reshape(-1, *shape).astype(np.float32), metrics)

    return predict


def _points(split: ExtractedSplit) -> Float[np.ndarray, "n points"]:
    return split.embeddings[:].reshape(len(split.metrics), -1).astype("f8")


def _metrics(split: ExtractedSplit) -> Float[np.ndarray, "n 3"]:
    return split.metrics[:]


def _best_slope(
    space: WeightSpace,
    train: tuple[Float[np.ndarray, "n k"], Float[np.ndarray, "n targets"]],
    validation: tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m targets"]],
) -> tuple[Float[np.ndarray, "k targets"], Float[np.ndarray, "targets"]]:
    """Slope and mean of the best ridge; the training coordinates are orthogonal."""
    (x, y), (held_out, truth) = train, validation
    mean, variances = y.mean(0), space.variances[: x.shape[1]]
    products = x.T @ (y - mean)
    slopes = [products / (variances + ridge)[:, None] for ridge in RIDGES]
    errors = [np.square(held_out @ slope + mean - truth).mean() for slope in slopes]
    return slopes[int(np.argmin(errors))], mean


def partial_least_squares(data: MapData) -> Predictor:
    """Partial least squares (Wold et al., 2001) from key weights to codes and metrics at once.

    Codes and metrics weigh the same; the number of components is chosen on validation runs.
    """
    space, targets = weight_space(data.train), fit_targets(data.train)
    y, truth = (
        np.column_stack([targets.codes(s).numpy(), s.metrics])
        for s in (data.train, data.validation)
    )
    mean, scale = y.mean(0), _scale(y, targets.n_codes)
    x, held_out = space.coordinates(data.train), space.coordinates(data.validation)
    most = min(PLS_COMPONENTS[-1], x.shape[1])
    model = PLSRegression(most, scale=False, max_iter=PLS_ITERATIONS, tol=PLS_TOLERANCE)
    model.fit(x, (y - mean) / scale)
    sizes = sorted({min(k, most) for k in PLS_COMPONENTS})
    slopes = [model.x_rotations_[:, :k] @ model.y_loadings_[:, :k].T for k in sizes]
    errors = [np.square(held_out @ slope - (truth - mean) / scale).mean() for slope in slopes]
    slope = slopes[int(np.argmin(errors))]

    def predict(split: ExtractedSplit) -> Prediction:
        found = space.coordinates(split) @ slope * scale + mean
        codes = torch.from_numpy(found[:, : targets.n_codes]).float()
        return Prediction(targets.embeddings(codes), found[:, targets.n_codes :])

    return predict


def _scale(y: Float[np.ndarray, "n targets"], n_codes: int) -> Float[np.ndarray, "targets"]:
    """One scale for all codes, one a metric, such that both groups' variances add up to 1."""
    codes = np.sqrt(y[:, :n_codes].var(0).sum())
    return np.concatenate(
        [np.full(n_codes, codes), y[:, n_codes:].std(0) * len(METRIC_NAMES) ** 0.5]
    )
