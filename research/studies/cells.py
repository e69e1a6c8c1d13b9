"""One cell of a study: fit something, judge it on held-out runs, remember the result."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from epsvae.atomic import replacing
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData, mean_embedding
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.scores import score
from research.rows.judge import summarise

Predictor = Callable[[ExtractedSplit], Prediction]
HELD_OUT = ("validation", "test")
COLUMNS = ("study", "library", "setting", "seed", "split", "measure", "value", "low", "high")


def cell(cache: Path, keys: Mapping[str, Any], data: MapData, fit: Callable[[], Predictor]) -> Path:
    """Fit and judge unless the cell's file is there; gives the file."""
    name = hashlib.sha256(json.dumps(keys, sort_keys=True).encode()).hexdigest()[:16]
    path = cache / f"{keys['study']}-{name}.parquet"
    if not path.is_file():
        frame = judge(fit(), data).assign(**keys)[list(COLUMNS)]
        with replacing(path) as temporary:
            frame.to_parquet(temporary, index=False)
    return path


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
