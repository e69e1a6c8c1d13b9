"""What of a checkpoint to read: sweep, layer statistics or weight deltas, alone and together."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.library.extracted import ExtractedSplit
from epsvae.map.data import MapData, embeddings_of, metrics_of
from epsvae.map.fit import fit_map, principal_codes, read_split
from epsvae.map.model import EpsilonVAE, MapConfig
from epsvae.map.prediction import Prediction
from epsvae.map.ranges import link
from epsvae.map.ridge import fit_ridge
from epsvae.map.statistics import split_statistics
from epsvae.study.cells import Predictor
from epsvae.ternary import METRIC_NAMES

READINGS = {
    "sweep": ("sweep",),
    "statistics": ("statistics",),
    "deltas": ("deltas",),
    "sweep + statistics": ("sweep", "statistics"),
    "sweep + deltas": ("sweep", "deltas"),
    "all three": ("sweep", "statistics", "deltas"),
}
EVEN = 0.1
"""c (1 - c) at which both readings of a coverage c count the same. Chosen by leaving training runs
out, one at a time: smaller values lose the order within runs, larger ones are less exact."""
N_DELTAS = 64
"""Principal components of the key weights' differences from the training mean."""


def fit_readings(data: MapData, seed: int, kinds: tuple[str, ...]) -> Predictor:
    """The map's closed form on other features: the same decoder and the same ridges, so that rows
    differ in what they read and in nothing else."""
    model = fit_map(data, MapConfig(seed=seed))
    basis = _delta_basis(data.train)
    train, validation = (_features(model, basis, s, kinds) for s in (data.train, data.validation))
    codes = [
        principal_codes(model.decoder, embeddings_of(s)) for s in (data.train, data.validation)
    ]
    geometry = _ridge((train[0], codes[0]), (validation[0], codes[1]))
    readers = [
        _ridge(
            (train[m + 1], metrics_of(data.train)[:, [m]]),
            (validation[m + 1], metrics_of(data.validation)[:, [m]]),
        )
        for m in range(len(METRIC_NAMES))
    ]

    @torch.no_grad()
    def predict(split: ExtractedSplit) -> Prediction:
        x = _features(model, basis, split, kinds)
        metrics = torch.cat([read(v) for read, v in zip(readers, x[1:], strict=True)], 1)
        z = torch.cat([geometry(x[0]), model.link(metrics)], 1)
        return Prediction(model.decode_embeddings(z).numpy(), model.predict_metrics(z).numpy())

    return predict


def fit_two_scales(data: MapData, seed: int, alone: bool = False) -> Predictor:
    """The map's closed form, and coverage read a second time: its logit, by a ridge of its own.

    An error e of the logit is an error e c (1 - c) of the share c. With weights inverse to squared
    errors, the logit decides near 0 and 1, the map's own reading of the share between. With
    ``alone=True`` only the logit counts.
    """
    model = fit_map(data, MapConfig(seed=seed))
    known, held_out = (
        (read_split(model, split).reconstruction(), link(metrics_of(split))[:, :1])
        for split in (data.train, data.validation)
    )
    logit = _ridge(known, held_out)

    @torch.no_grad()
    def predict(split: ExtractedSplit) -> Prediction:
        readings = read_split(model, split)
        z, x = model.latent(readings), readings.reconstruction()
        metrics, share = model.predict_metrics(z), model.readers[0](x).clamp(0, 1)
        precision = torch.zeros_like(share) if alone else (share * (1 - share) / EVEN).square()
        metrics[:, :1] = (precision * share + logit(x).sigmoid()) / (precision + 1)
        return Prediction(model.decode_embeddings(z).numpy(), metrics.numpy())

    return predict


def _ridge(train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor]) -> nn.Linear:
    layer = nn.Linear(train[0].shape[1], train[1].shape[1])
    fit_ridge(layer, train, validation)
    return layer


def _features(
    model: EpsilonVAE,
    basis: tuple[Tensor, Tensor],
    split: ExtractedSplit,
    kinds: tuple[str, ...],
) -> list[Float[Tensor, "n _"]]:
    """Features for the geometry, then for each metric."""
    shared = []
    if "statistics" in kinds:
        shared.append(torch.from_numpy(split_statistics(split)).float())
    if "deltas" in kinds:
        mean, directions = basis
        weights = torch.from_numpy(np.array(split.weights[:], dtype=np.float32))
        shared.append((weights - mean) @ directions)
    if "sweep" not in kinds:
        return [torch.cat(shared, 1)] * (1 + len(METRIC_NAMES))
    readings = read_split(model, split)
    own = (readings.geometry(), *readings.metric_features())
    return [torch.cat([x, *shared], 1) for x in own]


def _delta_basis(split: ExtractedSplit) -> tuple[Tensor, Tensor]:
    """Mean key weights and the leading directions around them."""
    weights = torch.from_numpy(np.array(split.weights[:], dtype=np.float32))
    mean = weights.mean(0)
    centred = weights - mean
    eigenvalues, basis = torch.linalg.eigh((centred @ centred.T).double())
    leading = basis[:, -N_DELTAS:] / eigenvalues[-N_DELTAS:].clamp_min(1e-12).sqrt()
    return mean, centred.T @ leading.float()
