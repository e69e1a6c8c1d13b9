"""The rows whose trainings are kept on disk: the default map, and the seed's models."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.library.layout import MAX_RADIUS
from epsvae.subjects.ternary.map.data import (
    BOTH,
    MapData,
    all_weights,
    key_weights,
    load_both,
    models_folder,
)
from epsvae.subjects.ternary.map.files import AnyMap, load_epsilon_vae
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.prediction import Prediction, predict_split
from epsvae.subjects.ternary.map.seed import SeedConfig
from epsvae.subjects.ternary.map.train import train_default
from research.cache import fingerprint, key
from research.rows.row import Predictor
from research.seed_training import train_seed

SEED_ROWS = {"seed metrics-only": False, "seed hybrid": True}
"""Rows of the seed's models, and whether they decode embeddings."""
ONE_MAP = f"default, {BOTH} libraries"
"""The default map again, fitted on every library that has training runs."""


@dataclass(frozen=True)
class Trainings:
    """Where the trainings of one library's rows are.

    Seed 0 is what `make reproduce` and the study of the seed's models train; others are kept in
    `cache`, as are those of a `later` half of the runs.
    """

    artifacts: Path
    library: str
    cache: Path
    later: bool = False

    def file(self, name: str, seed: int, data: MapData) -> Path:
        """File of one training."""
        if seed or self.later:
            known = fingerprint(data.train.index, data.validation.index)
            return self.cache / key(__name__, name, seed, known) / "best.pt"
        if name in SEED_ROWS:
            return seed_training(self.artifacts, self.library, name)
        library = BOTH if name == ONE_MAP else self.library
        return models_folder(self.artifacts, library) / "best.pt"


def seed_training(artifacts: Path, library: str, row: str) -> Path:
    """File of the training of one of the `SEED_ROWS` with seed 0."""
    kind = "hybrid" if SEED_ROWS[row] else "metrics"
    return artifacts / "training" / f"{library}-seed-{kind}.pt"


def fit_seed(name: str, data: MapData, seed: int, trainings: Trainings) -> Predictor:
    """One of the seed's models."""
    path, hybrid = trainings.file(name, seed, data), SEED_ROWS[name]
    config = SeedConfig(hybrid, n_weights=data.train.weights.shape[1])
    model, _ = train_seed(config, data, seed, progress=False, checkpoint_path=path)
    return lambda split: predict_split(model, split, key_weights, embeddings=hybrid)


def fit_default(data: MapData, seed: int, trainings: Trainings, name: str = "default") -> Predictor:
    """The default map."""
    return map_predictor(_trained(name, data, seed, trainings))


def fit_one_map(data: MapData, seed: int, trainings: Trainings) -> Predictor:
    """`ONE_MAP`, whichever library it is asked about."""
    return fit_default(load_both(trainings.artifacts), seed, trainings, ONE_MAP)


def fit_key_weights(data: MapData, seed: int, trainings: Trainings) -> Predictor:
    """The default map, told nothing but the key weights."""
    model = _trained("default", data, seed, trainings)
    return lambda split: predict_split(model, split, key_weights)


def _trained(name: str, data: MapData, seed: int, trainings: Trainings) -> AnyMap:
    path = trainings.file(name, seed, data)
    if not path.is_file():
        train_default(data, path.parent, seed, weights_out=False)
    return load_epsilon_vae(path)


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
