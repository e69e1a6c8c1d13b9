"""Runs side by side: do two readings of their paths agree?"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from epsvae.bootstrap import BOOTSTRAP_SEED, REPLICATES, interval
from epsvae.errors import EpsvaeError


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
