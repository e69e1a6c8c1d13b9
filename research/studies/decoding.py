"""Test checkpoints through the map and back: encoded, decoded, run, and held against the truth.

Beside it stands what needs no weight decoder: the map's prediction, the nearest training
checkpoint, averages of the two nearest ones, noise, the mean weights of the library. A release
carries too few weights for this, so its table does.
"""

import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.map.data import (
    ARRAYS,
    MapData,
    all_weights,
    load_map_data,
    mean_embedding,
)
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.prediction import Prediction, predict_split
from epsvae.subjects.ternary.map.release import open_release
from epsvae.subjects.ternary.map.scores import Scores, score
from epsvae.subjects.ternary.map.train_weights import (
    fit_weight_decoder,
    mean_weights,
)
from epsvae.subjects.ternary.uses.decode import Realised, map_sha256, realise, run_weights
from epsvae.subjects.ternary.uses.mix import add_noise, spherical_average
from epsvae.uses.average import linear_average, nearest
from research.cache import fingerprint, kept
from research.publish import encode_split

SEEDS = (0, 1, 2)
"""Trainings of the weight decoder; 0 is the one that the released map carries."""
NOISES = (0.01, 0.05)
"""Of each parameter's root mean square."""
TINY = 1e-12
SCORES = ("squared_error", "mean_squared_error", "cosine", "mean_cosine", "poincare_error")
COLUMNS = ("library", "way", "seed", "run", "epoch", *METRIC_NAMES, *SCORES, "training_seconds")


def decoding_table(artifacts: Path, release: Path, cache: Path) -> pd.DataFrame:
    """What every test checkpoint comes back as; columns `COLUMNS`. Ten minutes on one core.

    Ways: predicted, decoded (one row a seed), nearest, linear, spherical, noise of both sizes, mean
    weights. Metrics are those of the network that was run (for predicted, the map's); `SCORES`
    compare its embeddings with the true ones, those with ``mean`` the training mean's;
    `training_seconds` is the processor time of a decoder's training, NaN where none was trained.
    Reads the arrays under `artifacts` and the maps of `release`; resumable library by library and
    seed by seed through `cache`. Raises LibraryError for a map without a weight decoder.
    """
    cells = tqdm(decoding_cells(artifacts, release, cache), desc="decoded", unit="cell")
    return pd.concat(list(cells), ignore_index=True)


def decoding_cells(artifacts: Path, release: Path, cache: Path) -> Iterator[pd.DataFrame]:
    """What each library and seed gives."""
    opened = open_release(release)
    for library, folder in ARRAYS.items():
        model = opened.map(library)
        if not isinstance(model, EpsilonVAE) or model.weight_decoder is None:
            raise LibraryError(f"{release / library}: expected a map that decodes weights")
        data = load_map_data(artifacts / folder)
        indices = data.train.index, data.validation.index, data.test.index
        known = map_sha256(model), fingerprint(*indices)
        for seed in SEEDS:
            frame = kept(cache, partial(seed_table, model, data, seed), __name__, seed, *known)
            yield frame.assign(library=library)[list(COLUMNS)]


def seed_table(model: EpsilonVAE, data: MapData, seed: int) -> pd.DataFrame:
    """`COLUMNS` but library, for the decoder of one seed; with the other ways for seed 0."""
    z = torch.from_numpy(encode_split(model, data.test))
    found = others(model, data, z) if seed == 0 else {}
    fitted, seconds = trained(model, data, seed)
    found["decoded"] = _prediction(realise(fitted, z, n_jobs=1))
    mean = mean_embedding(data)
    tables = []
    for way, prediction in found.items():
        scores = score(prediction, data.test, mean)
        columns = dict(zip(METRIC_NAMES, prediction.metrics.T, strict=True)) | scores.embedding
        keys = data.test.index[["run", "epoch"]].reset_index(drop=True)
        table = keys.join(pd.DataFrame(columns).astype(np.float32))
        own = seconds if way == "decoded" else np.nan
        tables.append(table.assign(way=way, seed=seed, training_seconds=np.float32(own)))
    return pd.concat(tables, ignore_index=True)


def trained(model: EpsilonVAE, data: MapData, seed: int) -> tuple[EpsilonVAE, float]:
    """The map with the weight decoder of a seed, and the processor time of its training.

    For seed 0 that is the map's own, and the time is NaN.
    """
    if seed == 0:
        return model, float("nan")
    start = time.process_time()
    fit = fit_weight_decoder(model, data, model.config.weight_decoder, seed=seed)
    return fit.model, time.process_time() - start


@torch.no_grad()
def others(model: EpsilonVAE, data: MapData, z: Float[Tensor, "n latent"]) -> dict[str, Prediction]:
    """What needs no weight decoder, by way, for test checkpoints that lie at z."""
    architecture = model.config.architecture
    known = torch.from_numpy(encode_split(model, data.train))
    rows = nearest(z, known, 2)
    first, second = (all_weights(data.train, side.numpy()) for side in rows.T)
    to_first, to_second = ((z - known[side]).norm(dim=1, keepdim=True) for side in rows.T)
    share = to_first / (to_first + to_second).clamp_min(TINY)
    made = {
        "linear": linear_average(first, second, share),
        "spherical": spherical_average(first, second, architecture, share),
        "mean weights": mean_weights(data.train).repeat(len(z), 1),
    }
    for size in NOISES:
        generator = torch.Generator().manual_seed(0)
        made[f"noise {size:.0%}"] = add_noise(first, architecture, size, generator)
    there = rows[:, 0].numpy()
    looked_up = Prediction(data.train.embeddings[there], data.train.metrics[there])
    ran = {way: _prediction(run_weights(architecture, w, n_jobs=1)) for way, w in made.items()}
    return {
        "predicted": predict_split(model, data.test, all_weights),
        "nearest": looked_up,
        **ran,
    }


def _prediction(realised: Realised) -> Prediction:
    return Prediction(realised.embeddings.numpy(), realised.metrics.numpy())


def seed_scores(table: pd.DataFrame, index: pd.DataFrame) -> list[Scores]:
    """What one way scored in one library, for each seed, ready for `research.rows.judge`.

    `index` has the true metrics by run and epoch, and may hold more checkpoints.
    """
    names = list(METRIC_NAMES)
    true = index.set_index(["run", "epoch"])[names]
    scores = []
    for _, part in table.groupby("seed"):
        truth = true.loc[pd.MultiIndex.from_frame(part[["run", "epoch"]])]
        embedding = {name: part[name].to_numpy(dtype=float) for name in SCORES}
        predicted = part[names].to_numpy(dtype=float)
        scores.append(
            Scores(part["run"].to_numpy(dtype=object), predicted, truth.to_numpy(), embedding)
        )
    return scores
