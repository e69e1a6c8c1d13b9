"""What fitted rows predict, kept row by row and seed by seed, so that nothing is lost."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import process_time

import numpy as np

from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.map.prediction import Prediction
from research.cache import fingerprint, kept
from research.rows.foreign import predict_foreign
from research.rows.row import Row
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


def cell(cache: Path, name: str, row: Row, data: MapData, seed: int, parts: Parts) -> Cell:
    """Fit a row and predict every part, unless that is in the cache."""
    splits = [data.train, data.validation, *(split for part in parts.values() for split in part)]
    asked = name, seed, list(parts), fingerprint(*(split.index for split in splits))
    return kept(cache, partial(_fill, row, data, seed, parts), "research.rows", *asked)


def _fill(row: Row, data: MapData, seed: int, parts: Parts) -> Cell:
    for shared in (split_statistics, weight_space):  # each row pays for all that it needs
        shared.cache_clear()
    start = process_time()
    predict = row.fit(data, seed)
    fitted = process_time()
    predictions = {
        name: predict_foreign(predict, splits)
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
