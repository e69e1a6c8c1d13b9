"""Weights re-aligned to one checkpoint before they are read (Git Re-Basin, Ainsworth et al., 2023).

Weight matching: layer by layer, hidden units are put in the order in which they resemble the
reference's most, a linear assignment problem, until no layer changes.
"""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment

from epsvae.subjects.ternary import Architecture
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.layout import key_layout
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.symmetry import HiddenLayer, hidden_layers
from research.rows.baselines import ridge_on_weights
from research.rows.row import Predictor

SWEEPS = 3
"""Passes over all hidden layers, at most."""

Matrices = dict[str, Float[np.ndarray, "out inp"]]


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
    matrices, wanted = (_matrices(v, architecture) for v in (vector, reference))
    layers = [_of_key_weights(layer, matrices) for layer in hidden_layers(architecture)]
    for _ in range(SWEEPS):
        moved = [_match_layer(layer, matrices, wanted) for layer in layers if layer.rows]
        if not any(moved):
            break
    return np.concatenate([matrix.ravel() for matrix in matrices.values()])


def _match_layer(layer: HiddenLayer, matrices: Matrices, wanted: Matrices) -> bool:
    """Reorder the units of one layer; whether any moved."""
    pairs = [(wanted[name], matrices[name]) for name in layer.rows]
    pairs += [(wanted[name].T, matrices[name].T) for name in layer.columns]
    alike = np.sum([a @ b.T for a, b in pairs], axis=0)
    order = linear_sum_assignment(alike, maximize=True)[1]
    if (order == np.arange(len(order))).all():
        return False
    for name in layer.rows:
        matrices[name] = matrices[name][order]
    for name in layer.columns:
        matrices[name] = matrices[name][:, order]
    return True


def _of_key_weights(layer: HiddenLayer, matrices: Matrices) -> HiddenLayer:
    """What of a hidden layer is among the key weights."""
    kept = (tuple(n for n in names if n in matrices) for names in (layer.rows, layer.columns))
    return HiddenLayer(*kept)


def _matrices(vector: Float[np.ndarray, "weights"], architecture: Architecture) -> Matrices:
    parts = key_layout(architecture).unflatten(torch.from_numpy(np.array(vector, dtype=np.float32)))
    return {name: part.numpy() for name, part in parts.items()}
