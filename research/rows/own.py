"""The rows whose trainings are kept on disk: the default map, and the seed's models."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.library.layout import MAX_RADIUS
from epsvae.subjects.ternary.map.data import BOTH, MapData, all_weights, key_weights
from epsvae.subjects.ternary.map.files import AnyMap, load_epsilon_vae
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.prediction import Prediction, predict_split
from epsvae.subjects.ternary.map.seed import SeedConfig
from epsvae.subjects.ternary.map.train import train_default
from research.rows.row import Predictor, Row
from research.seed_training import train_seed

Place = Callable[[str, int, MapData], Path]
"""(row, training seed, data) -> the file in which its training is kept."""

SEED_ROWS = {"seed metrics-only": False, "seed hybrid": True}
"""Rows of the seed's models, and whether they decode embeddings."""
ONE_MAP = f"default, {BOTH} libraries"
"""The default map again, fitted on every library that has training runs."""


def seed_training(artifacts: Path, library: str, row: str) -> Path:
    """File of the training of one of the `SEED_ROWS` with seed 0."""
    kind = "hybrid" if SEED_ROWS[row] else "metrics"
    return artifacts / "training" / f"{library}-seed-{kind}.pt"


def own_rows(place: Place, load_both: Callable[[], MapData]) -> dict[str, Row]:
    """The seed's rows and the default map's; what `place` has already is not trained again.

    `load_both` gives the training runs of `ONE_MAP`, whichever library it is asked about.
    """
    fit_default = partial(_default, place)
    return {
        **{
            name: Row("key weights", partial(_seed_model, place, name), trained=True)
            for name in SEED_ROWS
        },
        "default, key weights": Row("key weights", partial(_key_only, fit_default), trained=True),
        ONE_MAP: Row("all weights", partial(_one_map, place, load_both), trained=True, reads="any"),
        "default": Row("all weights", partial(_all, fit_default), trained=True, reads="any"),
    }


def _default(place: Place, data: MapData, seed: int) -> AnyMap:
    path = place("default", seed, data)
    if not path.is_file():
        train_default(data, path.parent, seed, weights_out=False)
    return load_epsilon_vae(path)


def _all(fit: Callable[[MapData, int], AnyMap], data: MapData, seed: int) -> Predictor:
    return map_predictor(fit(data, seed))


def _one_map(place: Place, load_both: Callable[[], MapData], data: MapData, seed: int) -> Predictor:
    both = load_both()
    path = place(ONE_MAP, seed, both)
    if not path.is_file():
        train_default(both, path.parent, seed, weights_out=False)
    return map_predictor(load_epsilon_vae(path))


def _key_only(fit: Callable[[MapData, int], AnyMap], data: MapData, seed: int) -> Predictor:
    model = fit(data, seed)
    return lambda split: predict_split(model, split, key_weights)


def _seed_model(place: Place, name: str, data: MapData, seed: int) -> Predictor:
    path, hybrid = place(name, seed, data), SEED_ROWS[name]
    config = SeedConfig(hybrid, n_weights=data.train.weights.shape[1])
    model, _ = train_seed(config, data, seed, progress=False, checkpoint_path=path)
    return lambda split: predict_split(model, split, key_weights, embeddings=hybrid)


def map_predictor(model: AnyMap) -> Predictor:
    """Predictions of a map from all parameters; of other architectures one file at a time."""

    def predict(split: ExtractedSplit) -> Prediction:
        if isinstance(model, EpsilonVAE) and split.architecture != model.config.architecture:
            return _predict_others(model, split)
        return predict_split(model, split, all_weights)

    return predict


@torch.no_grad()
def _predict_others(model: EpsilonVAE, split: ExtractedSplit) -> Prediction:
    vectors = all_weights(split)
    states = (split.layout.unflatten(vector) for vector in vectors)
    z = torch.stack([model.encode(_checkpoint(state, split)) for state in states])
    return Prediction(np.asarray(model.decode_embeddings(z)), np.asarray(model.predict_metrics(z)))


def _checkpoint(state: dict[str, torch.Tensor], split: ExtractedSplit) -> Checkpoint:
    return Checkpoint(
        state={name: value for name, value in state.items() if name != MAX_RADIUS},
        architecture=split.architecture,
        max_radius=float(state[MAX_RADIUS]),
    )
