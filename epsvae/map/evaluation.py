"""The validation table: measures of every row, with bootstrap intervals over runs.

Runs, not checkpoints, are resampled: checkpoints of one run are anything but independent.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import cache

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from scipy.stats import kendalltau

from epsvae.map.data import MapData, mean_embedding
from epsvae.map.prediction import Prediction
from epsvae.map.scores import Scores, absolute_errors, score
from epsvae.ternary import METRIC_NAMES

REPLICATES = 1000
BOOTSTRAP_SEED = 20251226
LEVEL = 0.95
COLUMNS = ("regime", "split", "row", "access", "measure", "value", "low", "high")
SELECTED_ON, REPORTED_ON = "validation", "test"

Weights = Float[np.ndarray, "replicates n"]
Measure = Callable[[Weights], Float[np.ndarray, "replicates"]]


def validation_table(
    rows: Mapping[str, Mapping[str, Prediction]],
    access: Mapping[str, str],
    data: MapData,
    regime: str,
) -> pd.DataFrame:
    """Every measure of every row on the validation and test splits; columns `COLUMNS`.

    `low` and `high` bound the 95 % percentile interval of a bootstrap over runs; NaN if the split
    has a single run. `rows` maps a row's name to its predictions by split, `access` to what the row
    may see. Measures of embeddings are absent for rows that predict none.
    """
    mean = mean_embedding(data)
    lines = []
    for split in (SELECTED_ON, REPORTED_ON):
        for row, predictions in rows.items():
            scores = score(predictions[split], data.split(split), mean)
            for measure, (value, low, high) in summarise(scores).items():
                lines.append((regime, split, row, access[row], measure, value, low, high))
    return pd.DataFrame(lines, columns=list(COLUMNS))


def summarise(scores: Scores) -> dict[str, tuple[float, float, float]]:
    """(value, low, high) of every measure."""
    return {
        name: interval(*resampled([measure], scores.runs))
        for name, measure in measures(scores).items()
    }


def measures(scores: Scores) -> dict[str, Measure]:
    """Measures as functions of checkpoint weights, so that a bootstrap only changes the weights."""
    errors = absolute_errors(scores)
    found = {f"{name}_mae": mean_of(error) for name, error in errors.items()}
    for column, name in enumerate(METRIC_NAMES):
        pair = scores.predicted[:, column], scores.true[:, column]
        found[f"{name}_tau_within"] = mean_of(_tau_within(*pair, scores.runs))
    if scores.embedding:
        part = scores.embedding
        found["embedding_r2"] = _one_minus_ratio(part["squared_error"], part["mean_squared_error"])
        found["cosine"] = mean_of(part["cosine"])
        found["cosine_gain"] = mean_of(part["cosine"] - part["mean_cosine"])
        found["poincare_error"] = mean_of(part["poincare_error"])
    return found


def mean_of(values: Float[np.ndarray, "n"]) -> Measure:
    """Weighted mean of the values that are defined; NaN if none is."""
    known = np.isfinite(values)
    filled = np.where(known, values, 0.0)

    def measure(weights: Weights) -> Float[np.ndarray, "replicates"]:
        with np.errstate(invalid="ignore"):
            return (weights @ filled) / (weights @ known.astype(float))

    return measure


def _one_minus_ratio(error: Float[np.ndarray, "n"], reference: Float[np.ndarray, "n"]) -> Measure:
    """1 - sum of errors / sum of the reference's errors: R^2 over the training mean."""
    return lambda weights: 1 - (weights @ error) / (weights @ reference)


def _tau_within(
    predicted: Float[np.ndarray, "n"], true: Float[np.ndarray, "n"], runs: np.ndarray
) -> Float[np.ndarray, "n"]:
    """Kendall's tau within each checkpoint's run; NaN where a run's true values are constant.

    Where only the predicted ones are, it is 0: nothing was put in order.
    """
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


@cache
def _drawn(n_runs: int) -> Float[np.ndarray, "replicates runs"]:
    """How often each run is drawn in each resampling."""
    rng = np.random.default_rng(BOOTSTRAP_SEED)
    drawn: Int[np.ndarray, "replicates runs"] = rng.integers(n_runs, size=(REPLICATES, n_runs))
    return np.stack([np.bincount(draw, minlength=n_runs) for draw in drawn]).astype(float)


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


def paired_difference(a: Scores, b: Scores, measure: str) -> tuple[float, float, float]:
    """(value, low, high) of a's measure minus b's over the same resampled runs.

    A difference is claimed only where the interval excludes zero. Raises KeyError for a measure
    that one of them does not have.
    """
    first, second = measures(a)[measure], measures(b)[measure]
    return interval(*resampled([lambda weights: first(weights) - second(weights)], a.runs))
