"""What of a checkpoint to read: sweep, layer statistics or weight deltas, alone and together."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.map.ridge import fit_ridge
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.coverage import CoverageReader
from epsvae.subjects.ternary.map.data import MapData, embeddings_of
from epsvae.subjects.ternary.map.fit import fit_map, fit_readers, principal_codes, read_split
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.ranges import FINEST, link_coverage
from research.rows.row import Predictor
from research.rows.weights import WeightSpace, weight_space
from research.statistics import split_statistics

READINGS = {
    "sweep": ("sweep",),
    "statistics": ("statistics",),
    "deltas": ("deltas",),
    "sweep + statistics": ("sweep", "statistics"),
    "sweep + deltas": ("sweep", "deltas"),
    "all three": ("sweep", "statistics", "deltas"),
}
N_DELTAS = 64
"""Principal components of the key weights' differences from the training mean."""


def fit_readings(data: MapData, seed: int, kinds: tuple[str, ...]) -> Predictor:
    """The map's closed form on other features: the same decoder and the same ridges, so that rows
    differ in what they read and in nothing else."""
    model = fit_map(data, MapConfig(seed=seed))
    space = weight_space(data.train)
    train, validation = (_features(model, space, s, kinds) for s in (data.train, data.validation))
    codes = [
        principal_codes(model.decoder, embeddings_of(s)) for s in (data.train, data.validation)
    ]
    geometry = _ridge((train[0], codes[0]), (validation[0], codes[1]))
    readers = [CoverageReader(train[1].shape[1]), *(nn.Linear(x.shape[1], 1) for x in train[2:])]
    fit_readers(readers, train[1:], validation[1:], data)

    @torch.no_grad()
    def predict(split: ExtractedSplit) -> Prediction:
        x = _features(model, space, split, kinds)
        metrics = torch.cat([read(v) for read, v in zip(readers, x[1:], strict=True)], 1)
        z = torch.cat([geometry(x[0]), model.link(metrics, FINEST)], 1)
        return Prediction(model.decode_embeddings(z).numpy(), model.predict_metrics(z).numpy())

    return predict


def fit_one_scale(data: MapData, seed: int, scale: str) -> Predictor:
    """The map's closed form, but coverage is only one of its two readings: its share or its
    logit."""
    model = fit_map(data, MapConfig(seed=seed))
    reader = model.readers[0]

    @torch.no_grad()
    def predict(split: ExtractedSplit) -> Prediction:
        readings = read_split(model, split)
        z, x = model.latent(readings), readings.reconstruction()
        metrics = model.predict_metrics(z)
        logit = reader.logit(x) if scale == "logit" else link_coverage(reader.share(x))
        metrics[:, :1] = logit.sigmoid()
        return Prediction(model.decode_embeddings(z).numpy(), metrics.numpy())

    return predict


def _ridge(train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor]) -> nn.Linear:
    layer = nn.Linear(train[0].shape[1], train[1].shape[1])
    fit_ridge(layer, train, validation)
    return layer


def _features(
    model: EpsilonVAE,
    space: WeightSpace,
    split: ExtractedSplit,
    kinds: tuple[str, ...],
) -> list[Float[Tensor, "n _"]]:
    """Features for the geometry, then for each metric."""
    shared = []
    if "statistics" in kinds:
        shared.append(torch.from_numpy(split_statistics(split)).float())
    if "deltas" in kinds:
        shared.append(torch.from_numpy(space.coordinates(split)[:, :N_DELTAS]).float())
    if "sweep" not in kinds:
        return [torch.cat(shared, 1)] * (1 + len(METRIC_NAMES))
    readings = read_split(model, split)
    own = (readings.geometry(), *readings.metric_features())
    return [torch.cat([x, *shared], 1) for x in own]
