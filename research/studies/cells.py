"""One cell of a study: fit something, judge it on held-out runs, remember the result."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData, mean_embedding
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.scores import score
from research.cache import fingerprint, kept
from research.rows.judge import summarise

Predictor = Callable[[ExtractedSplit], Prediction]
HELD_OUT = ("validation", "test")
COLUMNS = ("study", "library", "setting", "seed", "split", "measure", "value", "low", "high")


def cell(
    cache: Path, module: str, keys: Mapping[str, Any], data: MapData, fit: Callable[[], Predictor]
) -> pd.DataFrame:
    """Measures of what `fit`, of a module, gives on held-out runs; columns `COLUMNS`."""

    def compute() -> pd.DataFrame:
        return judge(fit(), data).assign(**keys)[list(COLUMNS)]

    known = fingerprint(data.train.index, data.validation.index, data.test.index)
    return kept(cache, compute, module, dict(keys), known)


def judge(predict: Predictor, data: MapData) -> pd.DataFrame:
    """Measures of a predictor on the held-out runs, with intervals over runs."""
    mean = mean_embedding(data)
    lines = [
        (name, measure, *values)
        for name in HELD_OUT
        for measure, values in summarise(
            score(predict(data.split(name)), data.split(name), mean)
        ).items()
    ]
    return pd.DataFrame(lines, columns=["split", "measure", "value", "low", "high"])


def with_training_rows(data: MapData, rows: np.ndarray) -> MapData:
    """The same task with some of the training checkpoints; held-out runs stay as they are."""
    train = data.train
    part = replace(
        train,
        weights=train.weights[rows],
        rest=train.rest[rows],
        embeddings=train.embeddings[rows],
        metrics=train.metrics[rows],
        index=train.index.iloc[rows].reset_index(drop=True),
    )
    return MapData(part, data.validation, data.test)
