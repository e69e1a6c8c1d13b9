"""Rows that are linear in the flat key weights: ridge, PCA ridge, PLS, and re-aligned weights."""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from sklearn.cross_decomposition import PLSRegression

from epsvae.subjects.ternary import METRIC_NAMES, Architecture
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.layout import key_layout
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.symmetry import HiddenLayer, hidden_layers
from epsvae.subjects.ternary.uses.match import match_layers
from research.rows.row import Predictor
from research.rows.targets import fit_targets

RIDGES = tuple(10.0**k for k in range(-6, 3))
CHUNK = 4096
"""Columns of the weight matrices that are in memory at a time."""
COMPONENTS = 64
"""Principal components that `pca_ridge` keeps: as many as z has coordinates."""
PLS_COMPONENTS = (4, 8, 16, 32, 64)
PLS_ITERATIONS, PLS_TOLERANCE = 2000, 1e-4
TINY = 1e-7
"""Share of the largest variance below which a direction is rounding noise."""
SWEEPS = 3
"""Passes over all hidden layers, at most, when weights are re-aligned."""


@dataclass(frozen=True, eq=False)
class WeightSpace:
    """The span of the centred training weights, its directions by falling variance.

    What is linear in the weights and learned from these checkpoints needs no others.
    """

    train: ExtractedSplit
    centre: Float[np.ndarray, "weights"]
    scale: float
    """Mean square of a centred training checkpoint's norm."""
    variances: Float[np.ndarray, "k"]
    """Sums of squares along the directions, over `scale`; their mean is 1."""
    basis: Float[np.ndarray, "n k"]

    @property
    def rank(self) -> int:
        """How many directions are more than rounding noise."""
        return int((self.variances > TINY * self.variances[0]).sum())

    def products(self, split: ExtractedSplit) -> Float[np.ndarray, "m k"]:
        """Checkpoints of the same architecture along the directions, each times its length."""
        return inner_products(split, self.train, self.centre) / self.scale @ self.basis

    def coordinates(self, split: ExtractedSplit) -> Float[np.ndarray, "m rank"]:
        """`products` over the lengths, in units of the root of `scale`, without rounding noise."""
        rank = self.rank
        return self.products(split)[:, :rank] / np.sqrt(self.variances[:rank])


@lru_cache(maxsize=2)
def weight_space(train: ExtractedSplit) -> WeightSpace:
    """The space that a training split spans, computed once."""
    centre = train.weights[:].mean(0)
    gram = inner_products(train, train, centre)
    scale = float(np.trace(gram)) / len(gram)
    variances, basis = np.linalg.eigh(gram / scale)
    return WeightSpace(train, centre, scale, variances[::-1].clip(0), basis[:, ::-1])


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


def ridge_on_weights(data: MapData) -> Predictor:
    """Linear ridge regression from flat key weights to embeddings and metrics.

    Its strength is chosen on validation runs, by the embeddings' squared error for the embeddings
    and by the metrics' for the metrics.
    """
    return _ridge(data, len(data.train.weights))


def pca_ridge(data: MapData) -> Predictor:
    """`ridge_on_weights` on the leading principal components of the key weights."""
    return _ridge(data, min(COMPONENTS, weight_space(data.train).rank))


def _ridge(data: MapData, components: int) -> Predictor:
    space, shape = weight_space(data.train), data.train.embeddings.shape[1:]
    fits = [
        best_slope(space, wanted(data.train), data.validation, wanted(data.validation), components)
        for wanted in (_points, _metrics)
    ]

    def predict(split: ExtractedSplit) -> Prediction:
        x = space.products(split)[:, :components]
        points, metrics = (x @ slope + mean for slope, mean in fits)
        return Prediction(points.reshape(-1, *shape).astype(np.float32), metrics)

    return predict


def _points(split: ExtractedSplit) -> Float[np.ndarray, "n points"]:
    return split.embeddings[:].reshape(len(split.metrics), -1).astype("f8")


def _metrics(split: ExtractedSplit) -> Float[np.ndarray, "n 3"]:
    return split.metrics[:]


def best_slope(
    space: WeightSpace,
    targets: Float[np.ndarray, "n targets"],
    validation: ExtractedSplit,
    truth: Float[np.ndarray, "m targets"],
    components: int,
) -> tuple[Float[np.ndarray, "k targets"], Float[np.ndarray, "targets"]]:
    """Slope, of `WeightSpace.products`, and mean of the ridge that is best on the validation."""
    held_out, variances = space.products(validation)[:, :components], space.variances[:components]
    mean = targets.mean(0)
    rotated = space.basis[:, :components].T @ (targets - mean)
    slopes = [rotated / (variances + ridge)[:, None] for ridge in RIDGES]
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


def ridge_on_realigned(data: MapData, seed: int) -> Predictor:
    """Ridge regression on key weights, re-aligned to a training checkpoint that the seed draws."""
    rng = np.random.default_rng(seed)
    reference = data.train.weights[int(rng.integers(len(data.train.weights)))]
    names = ("train", "validation", "test")
    aligned = replace(data, **{name: realign(data.split(name), reference) for name in names})
    predict = ridge_on_weights(aligned)
    test = aligned.test

    def predict_realigned(split: ExtractedSplit) -> Prediction:
        return predict(test if split is data.test else realign(split, reference))

    return predict_realigned


def realign(split: ExtractedSplit, reference: Float[np.ndarray, "weights"]) -> ExtractedSplit:
    """A copy of a split, in memory, with the key weights of every checkpoint re-aligned."""
    weights = np.empty(split.weights.shape, dtype=np.float32)
    for row, vector in enumerate(split.weights):
        weights[row] = match(vector, reference, split.architecture)
    return replace(split, weights=weights)


def match(
    vector: Float[np.ndarray, "weights"],
    reference: Float[np.ndarray, "weights"],
    architecture: Architecture,
) -> Float[np.ndarray, "weights"]:
    """Key weights of the same function, hidden units in the order closest to the reference's."""
    layout = key_layout(architecture)
    wanted, state = (
        layout.unflatten(torch.from_numpy(np.array(v, dtype=np.float32)))
        for v in (reference, vector)
    )
    layers = []
    for layer in hidden_layers(architecture):
        known = ([name for name in names if name in state] for names in (layer.rows, layer.columns))
        layers.append(HiddenLayer(*map(tuple, known)))
    found = match_layers(wanted, state, [layer for layer in layers if layer.rows], SWEEPS)
    return layout.flatten(found).numpy()
