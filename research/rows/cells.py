"""What fitted rows predict, kept row by row and seed by seed, so that nothing is lost."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from time import process_time

import numpy as np

from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.map.prediction import Prediction
from research.cache import fingerprint, kept
from research.rows import own  # of the package: then the code of all rows decides what is stale
from research.rows.row import Predictor, Row
from research.rows.weights import weight_space
from research.statistics import split_statistics

Parts = Mapping[str, Sequence[ExtractedSplit]]
"""What is predicted: checkpoints by name, one split an architecture."""


@dataclass(frozen=True, eq=False)
class Cell:
    """One row, fitted with one seed. Seconds are those of one core."""

    predictions: Mapping[str, Prediction]
    """Of the parts that the row can read."""
    fit_seconds: float
    predict_seconds: float
    """For one checkpoint, from arrays in memory or in the page cache."""


def cell(
    name: str, row: Row, data: MapData, seed: int, parts: Parts, trainings: own.Trainings
) -> Cell:
    """Fit a row and predict every part, unless that is in the cache of the trainings."""
    splits = [data.train, data.validation, *(split for part in parts.values() for split in part)]
    asked = name, seed, list(parts), fingerprint(*(split.index for split in splits))
    fit = partial(row.fit, data, seed, *([trainings] if row.kept else []))
    return kept(trainings.cache, partial(_fill, row, fit, data, parts), __name__, *asked)


def _fill(row: Row, fit: Callable[[], Predictor], data: MapData, parts: Parts) -> Cell:
    for shared in (split_statistics, weight_space):  # each row pays for all that it needs
        shared.cache_clear()
    start = process_time()
    predict = fit()
    fitted = process_time()
    predictions = {
        name: _predict(predict, splits)
        for name, splits in parts.items()
        if all(row.can_read(split.architecture, data.train.architecture) for split in splits)
    }
    n = sum(len(prediction.metrics) for prediction in predictions.values())
    seconds = fitted - start, (process_time() - fitted) / n
    return Cell({name: _small(found) for name, found in predictions.items()}, *seconds)


def _small(found: Prediction) -> Prediction:
    if found.embeddings is None:
        return found
    return Prediction(found.embeddings.astype(np.float32), found.metrics)


def _predict(predict: Predictor, splits: Sequence[ExtractedSplit]) -> Prediction:
    """Predictions of every checkpoint of a part, in the order of its splits."""
    parts = [predict(split) for split in splits]
    points = [part.embeddings for part in parts if part.embeddings is not None]
    return Prediction(
        np.concatenate(points) if points else None, np.concatenate([p.metrics for p in parts])
    )
