"""Predictions of fitted rows on disk: one file a row and training seed, so that nothing is lost."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import process_time

import numpy as np

from epsvae.atomic import replacing
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.map.prediction import Prediction
from research.rows.foreign import predict_foreign
from research.rows.row import Row
from research.rows.weights import weight_space
from research.statistics import split_statistics

Parts = Mapping[str, Sequence[ExtractedSplit]]
"""What is predicted: checkpoints by name, one split an architecture."""


def fill_cell(path: Path, row: Row, data: MapData, seed: int, parts: Parts) -> None:
    """Fit a row and write what it predicts, unless the file has it for these very checkpoints."""
    mark = fingerprint(data, parts)
    if path.is_file():
        with np.load(path) as stored:
            if str(stored["mark"]) == mark:
                return
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
    contents = {"mark": np.array(mark), "fit": np.array(fitted - start)}
    contents["predict"] = np.array((process_time() - fitted) / n)
    for name, prediction in predictions.items():
        contents[f"{name}/metrics"] = prediction.metrics
        if prediction.embeddings is not None:
            contents[f"{name}/embeddings"] = prediction.embeddings.astype(np.float32)
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **contents)  # type: ignore[arg-type]


def read_prediction(path: Path, part: str) -> Prediction | None:
    """What a cell predicted of one part; None if the row could not read it."""
    with np.load(path) as stored:
        if f"{part}/metrics" not in stored:
            return None
        return Prediction(stored.get(f"{part}/embeddings"), stored[f"{part}/metrics"])


def read_seconds(path: Path) -> tuple[float, float]:
    """Seconds of one core that a cell took to fit, and to predict one checkpoint.

    Predicting starts from arrays in memory or in the page cache.
    """
    with np.load(path) as stored:
        return float(stored["fit"]), float(stored["predict"])


def fingerprint(data: MapData, parts: Parts) -> str:
    """A hash of which files are learned from and which are predicted, by their contents."""
    digest = hashlib.sha256()
    known = [data.train, data.validation]
    for split in (*known, *(split for splits in parts.values() for split in splits)):
        digest.update("".join(split.index["sha256"]).encode())
    digest.update("/".join(parts).encode())
    return digest.hexdigest()
