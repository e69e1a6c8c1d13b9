"""One decision of the default map varied: ablations, and the scaling law.

Every cell is fitted, judged on held-out runs, and kept in the cache.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from epsvae.subjects.ternary.map.data import (
    MapData,
    all_weights,
    key_weights,
    mean_embedding,
    part,
    runs_of,
)
from epsvae.subjects.ternary.map.fit import fit_map
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.prediction import predict_split
from epsvae.subjects.ternary.map.scores import score
from epsvae.subjects.ternary.map.tune import TuneConfig, fine_tune
from research.cache import fingerprint, kept
from research.rows.judge import HELD_OUT, summarise
from research.rows.row import Predictor
from research.studies.readings import READINGS, fit_one_scale, fit_readings

SEEDS = (0, 1, 2)
TUNED = TuneConfig()
FROM_SCRATCH = TuneConfig(epochs=40, lr=1e-3, probe_lr=3e-3, patience=10)
RUNS = (6, 12, 24, 48, 96, 192)
CHECKPOINTS = (1, 2, 3, 6, 11)
FIXED_CHECKPOINTS = 6
"""Checkpoints a run while the number of runs grows."""
COLUMNS = ("study", "library", "setting", "seed", "split", "measure", "value", "low", "high")

Fit = Callable[[MapData, int], Predictor]
Plan = tuple[str, str, Fit, int]
"""Study, setting, how to fit it, and the seed."""
Plans = Callable[[MapData], Iterator[Plan]]


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


def ablations(data: MapData) -> Iterator[Plan]:
    """Every setting of `ABLATIONS` with every seed."""
    for study, settings in ABLATIONS.items():
        for setting, fit in settings.items():
            for seed in SEEDS[:1] if study in SLOW else SEEDS:
                yield study, setting, fit, seed


def scaling(data: MapData) -> Iterator[Plan]:
    """Maps of subsets of the training runs; the seed draws the subset and the probes."""
    n_runs = len(set(runs_of(data.train)))
    fewest = min(np.unique(runs_of(data.train), return_counts=True)[1])
    sizes = [("runs", n, min(FIXED_CHECKPOINTS, fewest)) for n in RUNS if n <= n_runs]
    sizes += [("checkpoints", n_runs, n) for n in CHECKPOINTS if n <= fewest]
    for what, runs, checkpoints in sizes:
        setting = str(runs if what == "runs" else checkpoints)
        for seed in SEEDS:
            yield f"scaling-{what}", setting, partial(_of_subset, runs, checkpoints), seed


def _of_subset(runs: int, checkpoints: int, data: MapData, seed: int) -> Predictor:
    rows = subset(runs_of(data.train), runs, checkpoints, seed)
    return _closed_form(replace(data, train=part(data.train, rows)), seed)


def subset(runs: np.ndarray, n_runs: int, n_checkpoints: int, seed: int) -> np.ndarray:
    """Rows of some runs, drawn at random, and of each some checkpoints, evenly over its length."""
    names = np.unique(runs)
    chosen = np.random.default_rng(seed).choice(names, n_runs, replace=False)
    rows = []
    for name in sorted(chosen):
        here = np.flatnonzero(runs == name)
        rows.append(
            here[np.linspace(0, len(here) - 1, n_checkpoints + 2)[1:-1].round().astype(int)]
        )
    return np.concatenate(rows)


def fitted(plans: Plans, library: str, data: MapData, cache: Path) -> Iterator[pd.DataFrame]:
    """Measures of each plan on held-out runs, with intervals over runs; columns `COLUMNS`."""
    known = fingerprint(data.train.index, data.validation.index, data.test.index)
    for study, setting, fit, seed in plans(data):
        keys: dict[str, Any] = {"study": study, "library": library, "setting": setting}
        keys["seed"] = seed
        compute = partial(_judged, fit, data, seed)
        table = kept(cache, compute, __name__, keys, known)
        yield table.assign(**keys)[list(COLUMNS)]


def _judged(fit: Fit, data: MapData, seed: int) -> pd.DataFrame:
    predict, mean = fit(data, seed), mean_embedding(data)
    lines = []
    for name in HELD_OUT:
        scores = score(predict(data.split(name)), data.split(name), mean)
        lines += [(name, measure, *values) for measure, values in summarise(scores).items()]
    return pd.DataFrame(lines, columns=["split", "measure", "value", "low", "high"])
