"""The validation table: measures of every row, with bootstrap intervals over runs.

Runs, not checkpoints, are resampled: checkpoints of one run are anything but independent.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from jaxtyping import Float

from epsvae.bootstrap import Measure, interval, mean_of, resampled, tau_within
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.map.data import MapData, mean_embedding
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.scores import Scores, absolute_errors, score

COLUMNS = ("regime", "split", "row", "access", "measure", "value", "low", "high")
SELECTED_ON, REPORTED_ON = "validation", "test"


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


def paired_difference(a: Scores, b: Scores, measure: str) -> tuple[float, float, float]:
    """(value, low, high) of a's measure minus b's over the same resampled runs.

    A difference is claimed only where the interval excludes zero. Raises KeyError for a measure
    that one of them does not have.
    """
    first, second = measures(a)[measure], measures(b)[measure]
    return interval(*resampled([lambda weights: first(weights) - second(weights)], a.runs))
