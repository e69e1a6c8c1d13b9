"""The seed's models, trained once on each library: what they predict, and how they got there."""

from pathlib import Path

import pandas as pd
import torch
from joblib import Parallel, delayed

from epsvae.subjects.ternary.map.data import ARRAYS, load_map_data
from epsvae.subjects.ternary.map.prediction import predict_split
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE
from research.publish import SPLITS, metric_predictions
from research.rows.own import SEED_ROWS, seed_training
from research.seed_training import train_seed

HYBRID_FIRST = sorted(SEED_ROWS, key=lambda name: not SEED_ROWS[name])
"""The longest trainings first, so that they end side by side."""


def seed_tables(artifacts: Path, n_jobs: int = 2) -> dict[str, pd.DataFrame]:
    """Tables ``seed_predictions`` and ``seed_curves``: those of `make reproduce`, for these models.

    They are 49 million weights each, whose four trainings take as long as everything in `make
    reproduce`: half an hour on two cores. A killed call goes on after the last finished epoch.
    """
    Parallel(n_jobs=n_jobs)(
        delayed(_train)(artifacts, library, name) for name in HYBRID_FIRST for library in ARRAYS
    )
    predictions, curves = [], []
    for library, folder in ARRAYS.items():
        data = load_map_data(artifacts / folder)
        rows = {}
        for name, hybrid in SEED_ROWS.items():
            model, history = trained_seed(artifacts, library, name)
            rows[name] = {s: predict_split(model, data.split(s), embeddings=hybrid) for s in SPLITS}
            curves.append(history.assign(regime=library, row=name))
        predictions.append(metric_predictions(rows, data, library))
    return {
        "seed_predictions": pd.concat(predictions, ignore_index=True),
        "seed_curves": pd.concat(curves, ignore_index=True),
    }


def trained_seed(artifacts: Path, library: str, row: str) -> tuple[SeedVAE, pd.DataFrame]:
    """A seed's model and its history; trained only if its training is not finished on disk."""
    data, state = load_map_data(artifacts / ARRAYS[library]), seed_training(artifacts, library, row)
    return train_seed(SeedConfig(SEED_ROWS[row]), data, seed=0, checkpoint_path=state)


def _train(artifacts: Path, library: str, row: str) -> None:
    torch.set_num_threads(1)
    trained_seed(artifacts, library, row)
