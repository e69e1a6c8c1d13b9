"""Ablations of the default map: take one decision away and look at what it was worth."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import nn

from epsvae.subjects.ternary.map.data import MapData, all_weights, key_weights
from epsvae.subjects.ternary.map.fit import fit_map
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.prediction import predict_split
from epsvae.subjects.ternary.map.tune import TuneConfig, fine_tune
from research.studies.cells import Predictor, cell
from research.studies.readings import READINGS, fit_one_scale, fit_readings

SEEDS = (0, 1, 2)
TUNED = TuneConfig()
FROM_SCRATCH = TuneConfig(epochs=40, lr=1e-3, probe_lr=3e-3, patience=10)

Fit = Callable[[MapData, int], Predictor]


def _closed_form(data: MapData, seed: int, **config: Any) -> Predictor:
    return _predictor(fit_map(data, MapConfig(seed=seed, **config)))


def _tuned(
    data: MapData, seed: int, config: TuneConfig = TUNED, scratch: bool = False
) -> Predictor:
    start = fit_map(data, MapConfig(seed=seed))
    if scratch:
        start = _forget(start, seed)
    generator = torch.Generator().manual_seed(seed)
    return _predictor(fine_tune(start, data, config, generator).model)


def _forget(model: EpsilonVAE, seed: int) -> EpsilonVAE:
    """The same network with PyTorch's random start instead of the closed form."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in (model.geometry, model.decoder, *model.readers):
            for layer in part.modules():
                if isinstance(layer, nn.Linear):
                    layer.reset_parameters()
        model.curve.dual.zero_()
    return model


def _key_weights_only(data: MapData, seed: int) -> Predictor:
    """A map that is also fitted on key weights: the rest is the training mean's throughout."""
    blind = MapData(*(_blinded(data, name) for name in ("train", "validation", "test")))
    model = fit_map(blind, MapConfig(seed=seed))
    return lambda split: predict_split(model, split, key_weights)


def _blinded(data: MapData, name: str) -> Any:
    split = data.split(name)
    mean = data.train.rest[:].mean(0, keepdims=True)
    return replace(split, rest=mean.repeat(len(split.metrics), axis=0))


def _predictor(model: EpsilonVAE) -> Predictor:
    return lambda split: predict_split(model, split, all_weights)


ABLATIONS: dict[str, dict[str, Fit]] = {
    "probes": {str(n): partial(_closed_form, n_probes=n) for n in (8, 16, 32, 64, 128, 256)},
    "latent": {str(n): partial(_closed_form, latent_dim=n) for n in (8, 16, 32, 64, 128)},
    "decoder": {"curved": _closed_form, "flat": partial(_closed_form, curve_rank=0)},
    "parameters": {"all weights": _closed_form, "key weights": _key_weights_only},
    "readings": {name: partial(fit_readings, kinds=kinds) for name, kinds in READINGS.items()},
    "coverage": {
        "share and logit": _closed_form,
        "share": partial(fit_one_scale, scale="share"),
        "logit": partial(fit_one_scale, scale="logit"),
    },
    "start": {
        "closed form": _closed_form,
        "closed form, tuned": _tuned,
        "random, trained": partial(_tuned, config=FROM_SCRATCH, scratch=True),
    },
    "metric weight": {
        str(weight): partial(_tuned, config=replace(TUNED, lambda_metric=weight))
        for weight in (0.1, 1.0, 10.0)
    },
    "KL weight": {
        str(beta): partial(_tuned, config=replace(TUNED, beta=beta)) for beta in (0.0, 1e-5, 1e-3)
    },
    "embedding loss": {
        loss: partial(_tuned, config=replace(TUNED, poincare=loss == "Poincaré"))
        for loss in ("Euclidean", "Poincaré")
    },
}
"""What is varied: the settings by name. Those that train use fewer seeds."""
SLOW = ("start", "metric weight", "KL weight", "embedding loss")


def ablation_cells(cache: Path, library: str, data: MapData) -> Iterator[pd.DataFrame]:
    """Every ablation of a library, one cell a setting and seed."""
    for study, settings in ABLATIONS.items():
        for setting, fit in settings.items():
            for seed in SEEDS[:1] if study in SLOW else SEEDS:
                keys = {"study": study, "library": library, "setting": setting, "seed": seed}
                yield cell(cache, __name__, keys, data, partial(fit, data, seed))
