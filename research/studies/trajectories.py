"""Forecasts in weight space, and how fast weights move: both need the weights of every run.

A release carries the weights of four runs only, so these two tables stand in for the others. A run
is a path in weight space here, and everything that is said of paths in z holds for it.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.subjects.ternary import METRIC_NAMES, embed, operation_trits, poincare
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData, all_weights, runs_of
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.uses.decode import run_weights
from epsvae.uses.trajectory import Trajectory
from research.uses.endpoint import Early, early_part, extrapolate

SHARES = (0.2, 0.4, 0.6, 0.8)
"""Of a run's epochs: what a forecast has seen."""
DAMPINGS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1.0)
"""Of the velocity; the best on training runs is taken to the test runs."""


def trajectory_tables(data: MapData, model: EpsilonVAE) -> dict[str, pd.DataFrame]:
    """``forecast`` and ``weight_paths``, as they lie in a release; about a minute."""
    return {"forecast": forecast_table(data, model), "weight_paths": weight_paths(data)}


def forecast_table(data: MapData, model: EpsilonVAE) -> pd.DataFrame:
    """Test runs, extrapolated in weight space to their last epoch and run there.

    Columns share, method, damping, run, the realised metrics, poincare (mean Poincaré distance of
    anchors from the run's true last ones), z0 ... (what the map reads in the extrapolated weights).
    Methods: persistence (the last weights seen), linear (straight on), damped (with the damping
    whose anchors end closest on training runs).
    """
    tables = []
    for share in SHARES:
        damped = best_weight_damping(list(_early_runs(data.train, share)), data.train)
        test = list(_early_runs(data.test, share))
        for method, damping in {"persistence": 0.0, "linear": 1.0, "damped": damped}.items():
            table = _forecasts(test, damping, data.test, model)
            tables.append(table.assign(share=share, method=method, damping=damping))
    table = pd.concat(tables, ignore_index=True)
    first = ["share", "method", "damping"]
    return table[first + [name for name in table if name not in first]]


def best_weight_damping(
    runs: Sequence[tuple[Early, int]], split: ExtractedSplit, dampings: Sequence[float] = DAMPINGS
) -> float:
    """The damping whose anchors end closest to the true ones, on the mean over runs.

    `runs` pairs what is known of each early run with the row of its last checkpoint.
    """
    errors = [
        [_anchor_error(_extrapolated(early, damping), split, last) for damping in dampings]
        for early, last in runs
    ]
    return dampings[int(np.mean(errors, axis=0).argmin())]


@torch.no_grad()
def _anchor_error(weights: Float[Tensor, "weights"], split: ExtractedSplit, last: int) -> float:
    trits = operation_trits(split.anchors)
    points = embed(split.layout.unflatten(weights), split.architecture, trits, float(weights[-1]))
    return _distance(points, split, last)


def _distance(points: Float[Tensor, "anchors dim"], split: ExtractedSplit, row: int) -> float:
    """Mean Poincaré distance of anchors from those of a checkpoint of the split."""
    truth = torch.from_numpy(np.array(split.embeddings[row]))
    return float(poincare.distance(points, truth).mean())


@torch.no_grad()
def _forecasts(
    runs: Sequence[tuple[Early, int]], damping: float, split: ExtractedSplit, model: EpsilonVAE
) -> pd.DataFrame:
    """One row a run: what the extrapolated network does, and what the map reads in it."""
    vectors = torch.stack([_extrapolated(early, damping) for early, _ in runs])
    metrics, embeddings = run_weights(split.architecture, vectors, n_jobs=1)
    names = split.index["run"].to_numpy(dtype=object)
    last = [row for _, row in runs]
    frame = pd.DataFrame(metrics.numpy(), columns=list(METRIC_NAMES))
    frame.insert(0, "run", names[last])
    frame["poincare"] = [_distance(p, split, row) for p, row in zip(embeddings, last, strict=True)]
    return frame.join(pd.DataFrame(model.encode(vectors).numpy()).add_prefix("z"))


def _extrapolated(early: Early, damping: float) -> Float[Tensor, "weights"]:
    return torch.from_numpy(extrapolate([early], damping)[0]).float()


def _early_runs(split: ExtractedSplit, share: float) -> Iterator[tuple[Early, int]]:
    for path, rows in _weight_runs(split):
        yield early_part(path, share), int(rows[-1])


def _weight_runs(split: ExtractedSplit) -> Iterator[tuple[Trajectory, np.ndarray]]:
    """Each run as a path through weight space, one at a time, with its rows of the split."""
    epochs, runs = split.index["epoch"].to_numpy(dtype=float), runs_of(split)
    for run in dict.fromkeys(runs):
        rows = np.flatnonzero(runs == run)
        rows = rows[np.argsort(epochs[rows], kind="stable")]
        yield Trajectory(epochs[rows], all_weights(split, rows).numpy(), str(run)), rows


def weight_paths(data: MapData) -> pd.DataFrame:
    """How far the weights of each checkpoint moved: columns split, run, epoch, step, pace.

    `step` is the Euclidean length since the checkpoint before, `pace` the net movement per epoch
    over the usual window; NaN where a run is too young.
    """
    tables = []
    for name in ("train", "validation", "test"):
        for path, _ in _weight_runs(data.split(name)):
            steps = np.concatenate([[np.nan], path.step_lengths])
            columns = {"epoch": path.epochs, "step": steps, "pace": path.paces()}
            tables.append(pd.DataFrame(columns).assign(split=name, run=path.run))
    table = pd.concat(tables, ignore_index=True)
    return table[["split", "run", "epoch", "step", "pace"]]
