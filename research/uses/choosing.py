"""What a choice among runs was worth: rank correlation, top hits, regret; intervals over runs."""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int
from scipy.stats import rankdata

from epsvae.bootstrap import BOOTSTRAP_SEED, draws, interval

TOP = 3
REPLICATES, FEWER = 300, 200
"""Resamplings of what is slow to measure: the first ones of `epsvae.bootstrap`."""
SEED = BOOTSTRAP_SEED
DRAWS = 400
"""Batches over which a regret is averaged."""

Finals = Float[np.ndarray, "runs"]
"""Final quality of each run, as measured."""
Guess = Float[np.ndarray, "runs"]
"""One number a run: the highest is believed to end best."""
Rows = Int[np.ndarray, "n"]
Score = Callable[[Finals, Guess], float]
Guesser = Callable[[Rows], Guess]
"""Guesses for some of the runs, which may depend on who else is among them."""
Measure = Callable[[Rows, int], float]
"""A number about some of the runs; the integer seeds what is random, if anything is."""
Interval = tuple[float, float, float]


def tau(finals: Finals, guess: Guess) -> float:
    """Kendall's tau-b of final quality and guess; 0 where one side ties throughout."""
    a, b = (np.sign(np.subtract.outer(x, x)) for x in (finals, guess))
    untied = np.count_nonzero(a) * np.count_nonzero(b)
    return float((a * b).sum() / np.sqrt(untied)) if untied else 0.0


def top_hits(finals: Finals, guess: Guess, top: int = TOP) -> float:
    """Share of the `top` best runs that are among the `top` best guesses.

    Of equal numbers the first counts as best; of fewer runs all are among the best.
    """
    best, guessed = (set(np.argsort(-x, kind="stable")[:top].tolist()) for x in (finals, guess))
    return len(best & guessed) / len(best)


def regret(finals: Finals, guess: Guess, batches: Int[np.ndarray, "draws size"]) -> float:
    """What is given up by ending only the run with the highest guess of each batch, on average:
    final quality of the batch's best, minus that of the chosen one."""
    chosen = np.take_along_axis(batches, guess[batches].argmax(1)[:, None], axis=1)[:, 0]
    return float((finals[batches].max(1) - finals[chosen]).mean())


def batch_regret(finals: Finals, guess: Guess, size: int) -> Measure:
    """Mean regret over random batches, of runs that might have been started together."""

    def measure(rows: Rows, seed: int) -> float:
        rng = np.random.default_rng([SEED, seed])
        return regret(finals, guess, rows[rng.integers(len(rows), size=(DRAWS, size))])

    return measure


def scored(score: Score, finals: Finals, guess: Guesser) -> Measure:
    """A score of the guesses for some runs."""
    return lambda rows, _: score(finals[rows], guess(rows))


def mean_of(values: Float[np.ndarray, "runs"]) -> Measure:
    """Mean over some runs; NaN if one of them is."""

    def measure(rows: Rows, _: int) -> float:
        return float(values[rows].mean())

    return measure


def difference(a: Measure, b: Measure) -> Measure:
    """a minus b, on the same runs and the same random numbers."""
    return lambda rows, seed: a(rows, seed) - b(rows, seed)


def over_runs(measure: Measure, n: int, replicates: int = REPLICATES) -> Interval:
    """(value, low, high): a measure of n runs, and its 95 % bootstrap interval over runs.

    NaN ends for a single run.
    """
    value = measure(np.arange(n), 0)
    if n < 2:
        return value, float("nan"), float("nan")
    found = [measure(rows, 1 + i) for i, rows in enumerate(draws(n, replicates=replicates))]
    return interval(value, np.array(found))


def sign(interval: Interval) -> int:
    """1 or -1 where the interval lies above or below zero, else 0: no claim."""
    _, low, high = interval
    return int(low > 0) - int(high < 0)


def rank_correlation(
    a: Float[np.ndarray, "n"], b: Float[np.ndarray, "n"], runs: Sequence[str] | np.ndarray
) -> Interval:
    """Spearman's correlation with its 95 % interval over runs, which are resampled whole.

    NaN where one side is constant or has a NaN, the interval for a single run, too.
    """
    values, names = np.column_stack([a, b]), np.asarray(runs, dtype=object)
    groups = [values[names == run] for run in np.unique(names)]

    def measure(rows: Rows, _: int) -> float:
        return _spearman(np.concatenate([groups[row] for row in rows]))

    return over_runs(measure, len(groups), FEWER)


def _spearman(values: Float[np.ndarray, "n 2"]) -> float:
    a, b = (rankdata(column) for column in values.T)
    a, b = a - a.mean(), b - b.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else float("nan")
