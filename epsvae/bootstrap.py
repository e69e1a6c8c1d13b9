"""The bootstrap over runs: how far a measure may be trusted.

Runs, not checkpoints, are resampled: checkpoints of one run are anything but independent.
"""

from collections.abc import Callable, Sequence
from functools import cache

import numpy as np
from jaxtyping import Float, Int

REPLICATES = 1000
BOOTSTRAP_SEED = 20251226
LEVEL = 0.95


Weights = Float[np.ndarray, "replicates n"]


Measure = Callable[[Weights], Float[np.ndarray, "replicates"]]


def mean_of(values: Float[np.ndarray, "n"]) -> Measure:
    """Weighted mean of the values that are defined; NaN if none is."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)

    def measure(weights: Weights) -> Float[np.ndarray, "replicates"]:
        with np.errstate(invalid="ignore"):
            return (weights @ filled) / (weights @ known.astype(float))

    return measure


def tau_within(
    predicted: Float[np.ndarray, "n"], true: Float[np.ndarray, "n"], runs: np.ndarray
) -> Float[np.ndarray, "n"]:
    """Kendall's tau within each checkpoint's run; NaN where a run's true values are constant.

    Where only the predicted ones are, it is 0: nothing was put in order.
    """
    from scipy.stats import kendalltau  # here, because it takes half a second to import

    result = np.full(len(runs), np.nan)
    for run in np.unique(runs):
        here = runs == run
        if np.ptp(true[here]) > 0:
            ordered = np.ptp(predicted[here]) > 0
            result[here] = kendalltau(predicted[here], true[here]).statistic if ordered else 0.0
    return result


def tau_across(
    predicted: Float[np.ndarray, "n"], true: Float[np.ndarray, "n"], runs: np.ndarray
) -> Measure:
    """Kendall's tau-b across runs: are the runs' means in the right order?

    One mean a run, so that order within a run counts nothing. Exact for resampled runs: a run drawn
    twice ties with itself on both sides, and such pairs count in no denominator. NaN where one side
    ties throughout.
    """
    firsts, codes, sizes = _grouped(runs)
    a, b = (
        np.sign(np.subtract.outer(means, means))
        for means in (np.bincount(codes, values) / sizes for values in (predicted, true))
    )

    def measure(weights: Weights) -> Float[np.ndarray, "replicates"]:
        counts = weights[:, firsts]
        agreeing, untied_a, untied_b = (
            ((counts @ pairs) * counts).sum(1) for pairs in (a * b, np.abs(a), np.abs(b))
        )
        with np.errstate(invalid="ignore"):
            return agreeing / np.sqrt(untied_a * untied_b)

    return measure


def _grouped(
    runs: np.ndarray,
) -> tuple[Int[np.ndarray, "runs"], Int[np.ndarray, "n"], Int[np.ndarray, "runs"]]:
    """First checkpoint of each run, run of each checkpoint, checkpoints of each run."""
    _, firsts, codes, sizes = np.unique(
        runs, return_index=True, return_inverse=True, return_counts=True
    )
    return firsts, codes, sizes


def bootstrap_weights(runs: np.ndarray) -> Weights | None:
    """How often each checkpoint counts in each resampling of the runs; None for a single run."""
    firsts, codes, _ = _grouped(runs)
    return _drawn(len(firsts))[:, codes] if len(firsts) > 1 else None


def draws(
    n_runs: int, size: int | None = None, replicates: int = REPLICATES, seed: int = BOOTSTRAP_SEED
) -> Int[np.ndarray, "replicates size"]:
    """Which runs each resampling draws, with replacement: as many as there are, or `size`."""
    drawn: Int[np.ndarray, "replicates size"] = np.random.default_rng(seed).integers(
        n_runs, size=(replicates, n_runs if size is None else size)
    )
    return drawn


@cache
def _drawn(n_runs: int) -> Float[np.ndarray, "replicates runs"]:
    """How often each run is drawn in each resampling."""
    times = [np.bincount(drawn, minlength=n_runs) for drawn in draws(n_runs)]
    return np.stack(times).astype(float)


def resampled(
    seeds: Sequence[Measure], runs: np.ndarray, stream: int = 0
) -> tuple[float, Float[np.ndarray, "replicates"] | None]:
    """A measure's mean over training seeds, and its resamplings over runs and seeds.

    `seeds` holds the same measure of each training; a single one has no seed to resample. `stream`
    draws the seeds: rows that were trained apart get their own. None for a single run.
    """
    value = float(np.mean([measure(np.ones((1, len(runs))))[0] for measure in seeds]))
    weights = bootstrap_weights(runs)
    if weights is None:
        return value, None
    found = np.stack([measure(weights) for measure in seeds])
    rng = np.random.default_rng([BOOTSTRAP_SEED, stream])
    drawn = rng.integers(len(seeds), size=(len(seeds), REPLICATES))
    return value, np.take_along_axis(found, drawn, axis=0).mean(0)


def interval(
    value: float, replicates: Float[np.ndarray, "replicates"] | None
) -> tuple[float, float, float]:
    """(value, low, high): the percentile interval; NaN where there is none."""
    if replicates is None or np.isnan(value):
        return value, float("nan"), float("nan")
    low, high = np.nanquantile(replicates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return value, float(low), float(high)


def run_weights(runs: np.ndarray) -> Float[np.ndarray, "n"]:
    """A weight for each checkpoint: the same total for each run, 1 over all of them."""
    _, codes, counts = np.unique(runs, return_inverse=True, return_counts=True)
    return 1.0 / (len(counts) * counts[codes])
