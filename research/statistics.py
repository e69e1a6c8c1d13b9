"""Per-layer statistics of weights: what a checkpoint looks like without regard to positions."""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import LibraryError
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.layout import Layout, key_layout

QUANTILES = (0, 5, 25, 50, 75, 95, 100)
"""Percent."""
MOMENTS = ("mean", "std", "abs_mean", "norm", "skewness", "kurtosis", "spectral_norm")
MATRIX_STATISTICS = (*MOMENTS, *(f"q{percent}" for percent in QUANTILES))
VECTOR_STATISTICS = ("mean", "norm")
CHUNK = 32
"""Checkpoints at a time: 12 MB of key weights."""


def statistic_names(layout: Layout) -> tuple[str, ...]:
    """Name of each feature, ``<parameter>:<statistic>``, in the order of `layer_statistics`."""
    return tuple(
        f"{name}:{statistic}"
        for name, shape in zip(layout.names, layout.shapes, strict=True)
        for statistic in (MATRIX_STATISTICS if len(shape) == 2 else VECTOR_STATISTICS)
    )


def layer_statistics(
    weights: Float[np.ndarray, "n weights"], layout: Layout
) -> Float[np.ndarray, "n features"]:
    """Statistics of every parameter of every checkpoint, float64.

    Matrices: `MATRIX_STATISTICS` (std is the population's; skewness and excess kurtosis are 0 for a
    constant matrix). Vectors, present in the layout of all parameters only: `VECTOR_STATISTICS`.
    Rows are read in chunks, so `weights` may be a memory map. Raises LibraryError if the rows are
    not as long as the layout says.
    """
    if weights.shape[1] != layout.n_weights:
        raise LibraryError(
            f"weights: expected rows of {layout.n_weights} numbers, found {weights.shape[1]}"
        )
    features = np.empty((len(weights), len(statistic_names(layout))))
    for start in range(0, len(weights), CHUNK):
        rows = slice(start, start + CHUNK)
        state = layout.unflatten(torch.from_numpy(np.array(weights[rows], dtype=np.float32)))
        columns = [column for parameter in state.values() for column in _statistics(parameter)]
        features[rows] = torch.stack(columns, dim=1).numpy()
    return features


def _statistics(parameter: Float[Tensor, "n *shape"]) -> list[Float[Tensor, "n"]]:
    values = parameter.flatten(1)
    mean, norm = values.mean(1), values.norm(dim=1)
    if parameter.dim() == 2:
        return [mean, norm]
    centred = values - mean[:, None]
    variance = centred.square().mean(1)
    std = variance.sqrt()
    scale = torch.where(std > 0, std, 1.0)
    skewness = centred.pow(3).mean(1) / scale**3
    # A constant matrix has no tails: its kurtosis counts as the normal law's, 0 in excess.
    kurtosis = torch.where(std > 0, centred.pow(4).mean(1) / scale**4 - 3, 0.0)
    moments = [mean, std, values.abs().mean(1), norm, skewness, kurtosis]
    return [*moments, _spectral_norm(parameter), *_quantiles(values)]


def _spectral_norm(matrices: Float[Tensor, "n out inp"]) -> Float[Tensor, "n"]:
    """Largest singular value, from the Gram matrix of the shorter side: cheaper than an SVD."""
    wide = matrices.shape[-2] < matrices.shape[-1]
    gram = matrices @ matrices.mT if wide else matrices.mT @ matrices
    return torch.linalg.eigvalsh(gram)[..., -1].clamp_min(0).sqrt()


def _quantiles(values: Float[Tensor, "n size"]) -> Float[Tensor, "quantiles n"]:
    """Quantiles with linear interpolation between order statistics."""
    ordered = torch.from_numpy(np.sort(values.numpy(), axis=1))
    place = torch.tensor(QUANTILES) / 100 * (values.shape[1] - 1)
    low, high = ordered[:, place.floor().long()], ordered[:, place.ceil().long()]
    return torch.lerp(low, high, place.frac()).T


@lru_cache(maxsize=12)
def split_statistics(split: ExtractedSplit) -> Float[np.ndarray, "n features"]:
    """`layer_statistics` of a split's key weights, computed once. Shared: do not modify."""
    return layer_statistics(split.weights, key_layout(split.architecture))
