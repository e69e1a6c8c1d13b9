"""What a choice among runs was worth: rank correlation, top hits, regret; intervals over runs."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from epsvae.errors import EpsvaeError

TOP = 3
REPLICATES = 300
SEED = 20251226
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
    """Kendall's tau-b of final quality and guess; 0 where one side ties throughout.

    Raises EpsvaeError for no runs and for NaN, as every score here does.
    """
    _refuse_unknown(finals, guess)
    a, b = (np.sign(np.subtract.outer(x, x)) for x in (finals, guess))
    untied = np.count_nonzero(a) * np.count_nonzero(b)
    return float((a * b).sum() / np.sqrt(untied)) if untied else 0.0


def top_hits(finals: Finals, guess: Guess, top: int = TOP) -> float:
    """Share of the `top` best runs that are among the `top` best guesses.

    Of equal numbers the first counts as best; of fewer runs all are among the best.
    """
    _refuse_unknown(finals, guess)
    if top < 1:
        raise EpsvaeError(f"top: expected 1 or more, found {top}")
    best, guessed = (set(np.argsort(-x, kind="stable")[:top].tolist()) for x in (finals, guess))
    return len(best & guessed) / len(best)


def regret(finals: Finals, guess: Guess, batches: Int[np.ndarray, "draws size"]) -> float:
    """What is given up by ending only the run with the highest guess of each batch, on average:
    final quality of the batch's best, minus that of the chosen one."""
    _refuse_unknown(finals, guess)
    if not batches.size:
        raise EpsvaeError(f"batches: expected runs to choose from, found shape {batches.shape}")
    chosen = np.take_along_axis(batches, guess[batches].argmax(1)[:, None], axis=1)[:, 0]
    return float((finals[batches].max(1) - finals[chosen]).mean())


def batch_regret(finals: Finals, guess: Guess, size: int) -> Measure:
    """Mean regret over random batches, of runs that might have been started together."""

    def measure(rows: Rows, seed: int) -> float:
        _refuse_no_runs(len(rows))
        rng = np.random.default_rng([SEED, seed])
        return regret(finals, guess, rows[rng.integers(len(rows), size=(DRAWS, size))])

    return measure


def scored(score: Score, finals: Finals, guess: Guesser) -> Measure:
    """A score of the guesses for some runs."""
    return lambda rows, _: score(finals[rows], guess(rows))


def mean_of(values: Float[np.ndarray, "runs"]) -> Measure:
    """Mean over some runs; NaN if one of them is."""

    def measure(rows: Rows, _: int) -> float:
        _refuse_no_runs(len(rows))
        return float(values[rows].mean())

    return measure


def difference(a: Measure, b: Measure) -> Measure:
    """a minus b, on the same runs and the same random numbers."""
    return lambda rows, seed: a(rows, seed) - b(rows, seed)


def over_runs(measure: Measure, n: int, replicates: int = REPLICATES) -> Interval:
    """(value, low, high): a measure of n runs, and its 95 % bootstrap interval over runs.

    NaN ends for a single run. Raises EpsvaeError for no runs.
    """
    _refuse_no_runs(n)
    value = measure(np.arange(n), 0)
    if n < 2:
        return value, float("nan"), float("nan")
    draws = np.random.default_rng(SEED).integers(n, size=(replicates, n))
    found = [measure(rows, 1 + i) for i, rows in enumerate(draws)]
    low, high = np.quantile(found, [0.025, 0.975])
    return value, float(low), float(high)


def sign(interval: Interval) -> int:
    """1 or -1 where the interval lies above or below zero, else 0: no claim."""
    _, low, high = interval
    return int(low > 0) - int(high < 0)


def _refuse_unknown(finals: Finals, guess: Guess) -> None:
    _refuse_no_runs(len(finals))
    if not (np.isfinite(finals).all() and np.isfinite(guess).all()):
        raise EpsvaeError(
            f"guess: expected a finite final and a finite guess of each run, found "
            f"{int(np.isfinite(finals).sum())} and {int(np.isfinite(guess).sum())} "
            f"of {len(finals)} runs"
        )


def _refuse_no_runs(n: int) -> None:
    if not n:
        raise EpsvaeError("runs: expected at least one run, found none")
