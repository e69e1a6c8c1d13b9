"""The tables: measures of every row, with bootstrap intervals over runs and training seeds.

Runs, not checkpoints, are resampled: checkpoints of one run are anything but independent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from epsvae.bootstrap import Measure, interval, mean_of, resampled, tau_across, tau_within
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData, mean_embedding
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.scores import Scores, absolute_errors, score
from research.rows.rotation_free import rotation_free

COLUMNS = ("regime", "split", "row", "access", "measure", "value", "low", "high")
STUDY_COLUMNS = (*COLUMNS, "seeds")
PAIRED_COLUMNS = (
    *("regime", "split", "row", "access", "reference", "measure", "value", "low", "high"),
    *("seeds", "better"),
)
HELD_OUT = ("validation", "test")
"""Selected on, reported on."""
ROTATION_FREE = ("procrustes_cosine", "cka", "distance_spearman")
OPEN = "open"
"""In column `better`: the interval of the difference holds zero."""
ROUNDING = 1e-6
"""Differences that are no larger are zero: float32 has no more digits."""

ScoredRows = Mapping[str, Sequence[Scores]]
"""Scores of every row on one split, one for each training seed."""
Measures = Callable[[Scores], Mapping[str, Measure]]


def measures(scores: Scores) -> dict[str, Measure]:
    """Measures as functions of checkpoint weights, so that a bootstrap only changes the weights."""
    errors = absolute_errors(scores)
    found = {f"{name}_mae": mean_of(error) for name, error in errors.items()}
    for column, name in enumerate(METRIC_NAMES):
        pair = scores.predicted[:, column], scores.true[:, column]
        found[f"{name}_tau_within"] = mean_of(tau_within(*pair, scores.runs))
    if scores.embedding:
        part = scores.embedding
        found["embedding_r2"] = _one_minus_ratio(part["squared_error"], part["mean_squared_error"])
        found["cosine"] = mean_of(part["cosine"])
        found["cosine_gain"] = mean_of(part["cosine"] - part["mean_cosine"])
        found["poincare_error"] = mean_of(part["poincare_error"])
    return found


def _one_minus_ratio(error: Float[np.ndarray, "n"], reference: Float[np.ndarray, "n"]) -> Measure:
    """1 - sum of errors / sum of the reference's errors: R^2 over the training mean."""
    return lambda weights: 1 - (weights @ error) / (weights @ reference)


def all_measures(scores: Scores) -> dict[str, Measure]:
    """`measures`, order across runs and rotation-free measures."""
    found = measures(scores)
    for column, name in enumerate(METRIC_NAMES):
        pair = scores.predicted[:, column], scores.true[:, column]
        found[f"{name}_tau_across"] = tau_across(*pair, scores.runs)
    for name in ROTATION_FREE:
        if name in scores.embedding:
            found[name] = mean_of(scores.embedding[name])
    return found


def full_score(
    prediction: Prediction, split: ExtractedSplit, mean: Float[np.ndarray, "anchors dim"]
) -> Scores:
    """As `score`, with the rotation-free scores of the embeddings besides."""
    scores = score(prediction, split, mean)
    if prediction.embeddings is None:
        return scores
    more = rotation_free(prediction.embeddings, split.embeddings[:])
    return replace(scores, embedding=scores.embedding | more)


def summarise(scores: Scores) -> dict[str, tuple[float, float, float]]:
    """(value, low, high) of every one of `measures`."""
    return {
        name: interval(*resampled([measure], scores.runs))
        for name, measure in measures(scores).items()
    }


def validation_table(
    rows: Mapping[str, Mapping[str, Prediction]],
    access: Mapping[str, str],
    data: MapData,
    regime: str,
) -> pd.DataFrame:
    """`study_table` of `HELD_OUT` with a single training and no more than `measures`.

    `rows` maps a row's name to its predictions by split, `access` to what the row may see. Columns
    `COLUMNS`.
    """
    mean, tables = mean_embedding(data), []
    for split in HELD_OUT:
        scored = {
            row: [score(predictions[split], data.split(split), mean)]
            for row, predictions in rows.items()
        }
        tables.append(study_table(scored, access, regime, split, measures))
    return pd.concat(tables, ignore_index=True)[list(COLUMNS)]


def study_table(
    rows: ScoredRows,
    access: Mapping[str, str],
    regime: str,
    split: str,
    measured: Measures = all_measures,
) -> pd.DataFrame:
    """Every measure of every row on one split; columns `STUDY_COLUMNS`.

    `value` is the mean over training seeds; `low` and `high` bound the 95 % percentile interval of
    a bootstrap over runs and, where a row was trained with several, over seeds; NaN if the split
    has a single run. `seeds` counts them. Measures of embeddings are absent for rows that predict
    none.
    """
    lines = []
    for stream, (row, seeds) in enumerate(rows.items()):
        for measure, of_seeds in _by_measure(seeds, measured):
            found = interval(*resampled(of_seeds, seeds[0].runs, stream))
            lines.append((regime, split, row, access[row], measure, *found, len(seeds)))
    return pd.DataFrame(lines, columns=list(STUDY_COLUMNS))


def paired_table(
    rows: ScoredRows,
    access: Mapping[str, str],
    regime: str,
    split: str,
    reference: str = "default",
) -> pd.DataFrame:
    """Every other row minus the reference, over the same resampled runs; columns `PAIRED_COLUMNS`.

    `better` names the row whose measure is better where the interval of the difference excludes
    zero, and is `OPEN` where it does not: there no difference is claimed. Measures that one of the
    two does not have are absent. Raises KeyError without the reference.
    """
    names, lines = list(rows), []
    runs, own = rows[reference][0].runs, dict(_by_measure(rows[reference], all_measures))
    for stream, row in enumerate(names):
        for measure, of_seeds in _by_measure(rows[row], all_measures):
            if row == reference or measure not in own:
                continue
            ours = resampled(own[measure], runs, names.index(reference))
            value, low, high = interval(*_minus(resampled(of_seeds, runs, stream), ours))
            better = _better(low, high, measure, row, reference)
            keys = (regime, split, row, access[row], reference, measure)
            lines.append((*keys, value, low, high, len(rows[row]), better))
    return pd.DataFrame(lines, columns=list(PAIRED_COLUMNS))


def lower_is_better(measure: str) -> bool:
    """Whether a measure is an error."""
    return measure.endswith(("_mae", "_error"))


def _by_measure(seeds: Sequence[Scores], measured: Measures) -> Iterator[tuple[str, list[Measure]]]:
    """Each measure's name, and the measure of each seed."""
    found = [measured(scores) for scores in seeds]
    for name in found[0]:
        yield name, [measures_of_seed[name] for measures_of_seed in found]


def _minus(a: tuple[float, Any], b: tuple[float, Any]) -> tuple[float, Any]:
    """Difference of two resampled measures."""
    return a[0] - b[0], None if a[1] is None else a[1] - b[1]


def _better(low: float, high: float, measure: str, row: str, reference: str) -> str:
    if not (low > ROUNDING or high < -ROUNDING):
        return OPEN
    return row if (high < 0) == lower_is_better(measure) else reference
