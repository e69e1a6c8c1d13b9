"""Which runs to go on with? Forecasts that know one run only, and successive halving.

A *guess* is one number a run: the highest is believed to end best.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.stats import rankdata

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary.map.calibration import LOWEST
from research.uses.choosing import Finals, Guess, Guesser, Rows, tau, top_hits
from research.uses.quality import QUALITY, Course, Weights, quality

RATES = np.geomspace(0.1, 12.0, 25)
"""Rates of decay that a curve is fitted with, per planned length of a run."""
FEWEST = 4
"""Checkpoints without which a curve of three parameters is not fitted."""


def extrapolate(
    shares: Float[np.ndarray, "n"], metrics: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "3"]:
    """Metrics at share 1 of the curve that fits best: a + b s^-c, or a + b exp(-c s).

    Least squares in a and b for each rate c of `RATES`; the smallest error wins (learning curves;
    Domhan et al., 2015). Inside the metrics' ranges. The last value if there are fewer than
    `FEWEST`.
    """
    if len(shares) < FEWEST:
        return metrics[-1]
    found = []
    for at, at_end in zip(_decays(shares), _decays(np.ones(1)), strict=True):
        design = np.column_stack([np.ones_like(at), at])
        solution = np.linalg.lstsq(design, metrics, rcond=None)[0]
        errors = np.square(design @ solution - metrics).sum(0)
        found.append((errors, solution[0] + solution[1] * at_end))
    errors, ends = (np.stack(part) for part in zip(*found, strict=True))
    best = np.take_along_axis(ends, errors.argmin(0)[None], axis=0)[0]
    return np.clip(best, LOWEST, 1.0)


def last_values(courses: Sequence[Course]) -> Float[np.ndarray, "runs 3"]:
    """The forecast that nothing will change."""
    return np.stack([course.metrics[-1] for course in courses])


def extrapolations(courses: Sequence[Course]) -> Float[np.ndarray, "runs 3"]:
    """The curves of all runs, at their ends."""
    return np.stack([extrapolate(course.shares, course.metrics) for course in courses])


def _decays(shares: Float[np.ndarray, "n"]) -> Float[np.ndarray, "curves n"]:
    rates = RATES[:, None]
    return np.concatenate([shares**-rates, np.exp(-rates * shares)])


class Halved(NamedTuple):
    """What successive halving found."""

    guess: Guess
    """Whoever came further is better; among those that stopped together, the better value."""
    spent: int
    """Checkpoints of training."""


def successive_halving(values: Float[np.ndarray, "runs steps"], budget: int, rungs: int) -> Halved:
    """Train all a little, drop the worse half, train the others on, and so forth.

    `values` of each run at each checkpoint; only those that the budget reaches are looked at. Each
    rung gets the same share of what is left (Jamieson and Talwalkar, 2016), in whole checkpoints.
    Raises EpsvaeError if the first rung cannot give every run a checkpoint.
    """
    n, steps = values.shape
    alive, reached, spent = np.arange(n), 0, 0
    guess = np.zeros(n)
    for rung in range(rungs):
        more = min(steps - reached, (budget - spent) // ((rungs - rung) * len(alive)))
        if reached + more == 0:
            raise EpsvaeError(
                f"budget: expected at least {rungs * n} checkpoints for {n} runs in {rungs} "
                f"rungs, found {budget}"
            )
        reached, spent = reached + more, spent + more * len(alive)
        seen = values[alive, reached - 1]
        guess[alive] = rung + rankdata(seen) / (n + 1)
        alive = alive[np.argsort(-seen, kind="stable")[: -(-len(alive) // 2)]]
    return Halved(guess, spent)


def halving(values: Float[np.ndarray, "steps runs"], cost: int, rungs: int) -> Guesser:
    """Guesses of successive halving among any of the runs, for so many checkpoints a run."""

    def guess(rows: Rows) -> Guess:
        return successive_halving(values.T[rows], cost * len(rows), rungs).guess

    return guess


def quality_curves(
    courses: Sequence[Course], steps: int, weights: Weights = QUALITY
) -> Float[np.ndarray, "steps runs"]:
    """Quality of each run after 1/steps, 2/steps ... of its plan, interpolated."""
    grid = np.arange(1, steps + 1) / steps
    return np.stack([np.interp(grid, c.shares, quality(c.metrics, weights)) for c in courses], 1)


def best_rungs(
    values: Float[np.ndarray, "steps runs"],
    finals: Finals,
    cost: int,
    size: int,
    rng: np.random.Generator,
    draws: int = 60,
) -> int:
    """How many rungs served best in random batches of finished runs, by tau plus top hits.

    `cost` is what is spent a run, in checkpoints; a batch has `size` runs.
    """
    batches = [rng.choice(len(finals), size, replace=False) for _ in range(draws)]
    scores = []
    for rungs in range(1, 1 + min(cost, int(np.log2(size)))):
        guess = halving(values, cost, rungs)
        pairs = [(finals[rows], guess(rows)) for rows in batches]
        scores.append(np.mean([tau(*pair) + top_hits(*pair) for pair in pairs]))
    return 1 + int(np.argmax(scores))
