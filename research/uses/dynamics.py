"""Runs side by side: what their paths are like, and whether two readings of a path agree."""

from collections.abc import Iterable, Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy.stats import rankdata

from epsvae.bootstrap import BOOTSTRAP_SEED, REPLICATES, interval
from epsvae.errors import EpsvaeError
from epsvae.uses.trajectory import WINDOW, Trajectory

SHAPE = ("length", "straightness", "smoothness", "turning")
COLUMNS = ("run", "checkpoints", *SHAPE, "first_pace", "last_pace")
"""Columns of `describe`."""


def describe(paths: Iterable[Trajectory], window: float = WINDOW) -> pd.DataFrame:
    """One row a run: checkpoints, length, straightness, smoothness, mean turning angle in
    degrees, first and last pace (z per epoch); NaN where a run is too short to say."""
    rows = []
    for path in paths:
        paces = path.paces(window)
        known = paces[np.isfinite(paces)]
        turns = path.turning_angles[np.isfinite(path.turning_angles)]
        rows.append(
            {
                "run": path.run,
                "checkpoints": len(path),
                "length": path.length,
                "straightness": path.straightness,
                "smoothness": path.smoothness,
                "turning": float(np.degrees(turns.mean())) if len(turns) else np.nan,
                "first_pace": known[0] if len(known) else np.nan,
                "last_pace": known[-1] if len(known) else np.nan,
            }
        )
    return pd.DataFrame(rows, columns=list(COLUMNS))


def rank_correlation(
    a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"], runs: Sequence[str] | np.ndarray
) -> tuple[float, float, float]:
    """Spearman's correlation with its 95 % interval over runs, which are resampled whole.

    NaN where one side is constant or has a NaN, the interval for a single run, too. Raises
    EpsvaeError for no values.
    """
    values, names = np.column_stack([a, b]), np.asarray(runs, dtype=object)
    if not len(values):
        raise EpsvaeError("a: expected values of at least one run, found none")
    groups = [values[names == run] for run in np.unique(names)]
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn = rng.integers(len(groups), size=(REPLICATES // 5, len(groups)))
    replicates = np.array([_spearman(np.concatenate([groups[i] for i in draw])) for draw in drawn])
    known = len(groups) > 1 and np.isfinite(replicates).any()
    return interval(_spearman(values), replicates if known else None)


def _spearman(values: Float[np.ndarray, "n 2"]) -> float:
    a, b = (rankdata(column) for column in values.T)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")
