"""The scaling law: how many runs does a map need, and how many checkpoints of each?"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from epsvae.subjects.ternary.map.data import MapData, all_weights, runs_of
from epsvae.subjects.ternary.map.fit import fit_map
from epsvae.subjects.ternary.map.model import MapConfig
from epsvae.subjects.ternary.map.prediction import predict_split
from research.studies.cells import Predictor, cell, with_training_rows

RUNS = (6, 12, 24, 48, 96, 192)
CHECKPOINTS = (1, 2, 3, 6, 11)
FIXED_CHECKPOINTS = 6
"""Checkpoints a run while the number of runs grows."""
SEEDS = (0, 1, 2)


def scaling_cells(cache: Path, library: str, data: MapData) -> Iterator[pd.DataFrame]:
    """Fit the map on subsets of the training runs; the seed draws the subset and the probes."""
    n_runs = len(set(runs_of(data.train)))
    fewest = min(np.unique(runs_of(data.train), return_counts=True)[1])
    plans = [("runs", n, min(FIXED_CHECKPOINTS, fewest)) for n in RUNS if n <= n_runs]
    plans += [("checkpoints", n_runs, n) for n in CHECKPOINTS if n <= fewest]
    for study, runs, checkpoints in plans:
        for seed in SEEDS:
            keys = {
                "study": f"scaling-{study}",
                "library": library,
                "setting": str(runs if study == "runs" else checkpoints),
                "seed": seed,
            }
            rows = subset(runs_of(data.train), runs, checkpoints, seed)
            yield cell(cache, __name__, keys, data, partial(_fit, data, rows, seed))


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


def _fit(data: MapData, rows: np.ndarray, seed: int) -> Predictor:
    model = fit_map(with_training_rows(data, rows), MapConfig(seed=seed))
    return lambda split: predict_split(model, split, all_weights)
