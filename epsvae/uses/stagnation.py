"""Has a run stopped learning? An alarm from the map, and what it is held against.

A run truly stagnates where, over the last few epochs, its anchors hardly moved *and* no metric
gained. Both take running the network. The alarm asks the same of the map: is the path in z slow,
and does no predicted metric gain?
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from epsvae.bootstrap import interval, mean_of, resampled
from epsvae.errors import EpsvaeError
from epsvae.uses.trajectory import WINDOW, over_window

MOVEMENT = 0.08
"""Mean Poincaré distance per epoch below which anchors hardly move."""
GAIN = 0.01
"""Per epoch; a metric that rises by less does not gain."""
ALLOWED = 0.1
"""Share of moving checkpoints that the alarm may call stagnant, on the runs it is chosen on."""


@dataclass(frozen=True)
class StagnationRule:
    """Alarm where pace and predicted gain are both below a threshold."""

    pace: float
    """Of the path in z, per epoch."""
    gain: float = GAIN
    window: float = WINDOW
    """Epochs over which both are taken."""

    def __call__(
        self, paces: Float[np.ndarray, "n"], gains: Float[np.ndarray, "n"]
    ) -> Bool[np.ndarray, "n"]:
        """Which checkpoints raise the alarm; never where a number is NaN."""
        return (paces < self.pace) & (gains < self.gain)


def metric_gain(
    metrics: Float[np.ndarray, "n metrics"],
    epochs: Float[np.ndarray, "n"],
    window: float = WINDOW,
    signs: Sequence[float] | float = 1.0,
) -> Float[np.ndarray, "n"]:
    """Gain per epoch of the metric that gained most over the window.

    `signs` are -1 for metrics that are better the lower (`Metric.sign`). A metric that is NaN at
    either end does not count; NaN where none counts. 0 for constant ones.
    """
    gains = over_window(np.asarray(metrics, dtype=float), epochs, window) * signs
    best = np.where(np.isnan(gains), -np.inf, gains).max(axis=1)
    return np.where(np.isneginf(best), np.nan, best)


def is_stagnant(
    movement: Float[np.ndarray, "n"],
    gain: Float[np.ndarray, "n"],
    least_movement: float = MOVEMENT,
    least_gain: float = GAIN,
) -> Bool[np.ndarray, "n"]:
    """True stagnation; False where a number is NaN, since nothing is known there."""
    return (movement < least_movement) & (gain < least_gain)


def choose_rule(
    paces: Float[np.ndarray, "n"],
    gains: Float[np.ndarray, "n"],
    stagnant: Bool[np.ndarray, "n"],
    allowed: float = ALLOWED,
    gain: float = GAIN,
    window: float = WINDOW,
) -> StagnationRule:
    """The pace that best tells stagnant checkpoints from moving ones (largest hits minus false
    alarms), among those with at most `allowed` false alarms; the lowest of equals.

    Use training runs only. Raises EpsvaeError unless both kinds are there.
    """
    known = np.isfinite(paces) & np.isfinite(gains)
    stagnant = np.asarray(stagnant, dtype=bool)
    n_stagnant, n_moving = int((known & stagnant).sum()), int((known & ~stagnant).sum())
    if not (n_stagnant and n_moving):
        raise EpsvaeError(
            "stagnant: expected stagnant and moving checkpoints with a known pace, found "
            f"{n_stagnant} and {n_moving}"
        )
    candidates = _thresholds(paces[known])
    alarms = (paces[known] < candidates[:, None]) & (gains[known] < gain)
    hits = alarms[:, stagnant[known]].mean(axis=1)
    false = alarms[:, ~stagnant[known]].mean(axis=1)
    score = np.where(false <= allowed, hits - false, -np.inf)
    return StagnationRule(float(candidates[score.argmax()]), gain, window)


def _thresholds(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "m"]:
    """Below all values, halfway between neighbours, above all; rising."""
    distinct = np.unique(values)
    margin = 1e-6 * (1 + np.abs(distinct[-1]))
    halfway = (distinct[:-1] + distinct[1:]) / 2
    return np.concatenate([distinct[:1], halfway, distinct[-1:] + margin])


@dataclass(frozen=True)
class AlarmRates:
    """(value, low, high), with 95 % intervals over runs; NaN where there is nothing to count."""

    false_alarms: tuple[float, float, float]
    """Share of moving checkpoints that raise the alarm."""
    hits: tuple[float, float, float]
    """Share of stagnant checkpoints that raise it."""


def alarm_rates(
    alarms: Bool[np.ndarray, "n"], stagnant: Bool[np.ndarray, "n"], runs: Sequence[str] | np.ndarray
) -> AlarmRates:
    """How often an alarm is false, and how often it comes where it should.

    Raises EpsvaeError for no checkpoints.
    """
    if not len(alarms):
        raise EpsvaeError("alarms: expected checkpoints, found none")
    names = np.asarray(runs, dtype=object)
    rates = []
    for of in (~np.asarray(stagnant, dtype=bool), np.asarray(stagnant, dtype=bool)):
        values = np.where(of, np.asarray(alarms, dtype=float), np.nan)
        if of.any():
            rates.append(interval(*resampled([mean_of(values)], names)))
        else:
            rates.append((float("nan"),) * 3)
    return AlarmRates(*rates)
