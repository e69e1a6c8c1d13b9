"""The price of knowing: error, multiply-adds, time and size of every way of knowing."""

import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import chain, cycle
from pathlib import Path
from time import process_time

import joblib
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.library.layout import extract_key_weights
from epsvae.subjects.ternary.map.data import MapData, all_weights, load_map_data, mean_embedding
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.scores import score
from research.bench.multiply_adds import multiply_adds
from research.bench.timing import Timing, seconds_of, timing_of
from research.bench.ways import FLAT, Way, ways_of_knowing
from research.rows.judge import summarise

LIBRARY, ARRAYS, FILES, TABLE = (
    "aligned",
    "epsilon_vae_hybrid",
    "library",
    "release/protocol.parquet",
)
PROBES = (8, 16, 32, 48, 64, 128)
BATCH, FEW, N_FILES = 1000, 32, 32
"""Checkpoints in memory, those that a first guess is made with, and those in files."""
ROUNDS, SINGLES = 5, 5
"""How often everything is timed, way after way; and single checkpoints of one way in a row."""
SECONDS = 2.0
"""A batch is cut to as many checkpoints as take about that long; `checkpoints` tells how many."""
COLUMNS = ("row", "access", "measure", "value", "low", "high")
ERRORS = (*(f"{name}_mae" for name in METRIC_NAMES), "embedding_unexplained")

Values = tuple[float, float, float]


def price_of_knowing(artifacts: Path | str) -> pd.DataFrame:
    """What every way of knowing costs and gives, on the test runs of the aligned library.

    Columns `COLUMNS`. Measures: `ERRORS` with 95 % bootstrap intervals over runs
    (`embedding_unexplained` is 1 - R²); `multiply_adds` a checkpoint for its metrics, and
    `multiply_adds_embeddings`; `bytes` of the predictor on disk, for metrics at least; milliseconds
    a checkpoint with the lowest and the highest of `ROUNDS` (metrics of ``one`` checkpoint, of a
    ``batch`` in memory, of ``files`` that are read; and ``embeddings`` of a batch); `checkpoints`,
    how many a timed batch holds. Times are processor times of one thread, so other work on the
    machine shows little. About three minutes and 3 GB.

    Reads the arrays and the files that `reproduce` leaves in `artifacts`. The errors of the flat
    encoder, which takes long to train, come from the protocol: the mean of its trainings.
    """
    torch.set_num_threads(1)
    artifacts = Path(artifacts)
    data = load_map_data(artifacts / ARRAYS)
    files = [artifacts / FILES / file for file in data.test.index["file"][:N_FILES]]
    errors = {FLAT: list(_errors_in_table(artifacts / TABLE))}
    ways = list(ways_of_knowing(data, PROBES))
    times = _times(ways, _in_memory(data), files)
    lines = [
        (way.name, way.access, measure, *values)
        for way in ways
        for measure, values in (
            *(errors.get(way.name) or _errors(way, data)),
            *_counts(way, data.test),
            *times[way.name],
        )
    ]
    return pd.DataFrame(lines, columns=list(COLUMNS))


def _errors_in_table(path: Path) -> Iterator[tuple[str, Values]]:
    """The errors of the seed's hybrid on the test runs, from the protocol."""
    if not path.is_file():
        raise LibraryError(f"{path}: expected the protocol of a release, found no file")
    table = pd.read_parquet(path)
    chosen = (table["regime"] == LIBRARY) & (table["split"] == "test")
    rows = table[chosen & (table["row"] == "seed hybrid")].set_index("measure")
    if rows.empty:
        raise LibraryError(f"{path}: expected a row 'seed hybrid' of {LIBRARY!r}, found none")
    for measure, value, low, high in rows[["value", "low", "high"]].itertuples():
        yield from _error(str(measure), (value, low, high))


def _error(measure: str, values: Values) -> Iterator[tuple[str, Values]]:
    """A measure of the validation table as one of `ERRORS`, if it is one."""
    value, low, high = values
    if measure == "embedding_r2":
        yield "embedding_unexplained", (1 - value, 1 - high, 1 - low)
    elif measure in ERRORS:
        yield measure, values


@torch.no_grad()
def _errors(way: Way, data: MapData) -> Iterator[tuple[str, Values]]:
    if not way.scored:
        return
    weights, test = all_weights(data.test), data.test
    points = None if way.embeddings is None else way.embeddings(weights).numpy()
    prediction = Prediction(points, way.metrics(weights).double().numpy())
    mean = mean_embedding(data)
    for measure, values in summarise(score(prediction, test, mean)).items():
        yield from _error(measure, values)


def _counts(way: Way, test: ExtractedSplit) -> Iterator[tuple[str, Values]]:
    one = all_weights(test, slice(1))
    yield "multiply_adds", _exact(multiply_adds(lambda: way.metrics(one)))
    if (ask := way.embeddings) is not None:
        yield "multiply_adds_embeddings", _exact(multiply_adds(lambda: ask(one)))
    yield "bytes", _exact(size_on_disk(way.predictor))


def size_on_disk(predictor: object) -> int:
    """Bytes of a predictor when it is saved; 0 for None."""
    if predictor is None:
        return 0
    with io.BytesIO() as file:
        joblib.dump(predictor, file)
        return file.tell()


def _in_memory(data: MapData) -> Float[Tensor, "n weights"]:
    """All parameters of up to `BATCH` checkpoints of the library."""
    parts = [all_weights(split) for split in (data.train, data.validation, data.test)]
    return torch.cat(parts)[:BATCH].clone()


@torch.inference_mode()
def _times(
    ways: Sequence[Way], weights: Float[Tensor, "n weights"], files: Sequence[Path]
) -> dict[str, list[tuple[str, Values]]]:
    """Milliseconds a checkpoint, by way; measured in rounds, so that a slow minute slows all."""
    sizes = {way.name: _batch_size(way, weights) for way in ways}
    calls = {way.name: _calls(way, weights, sizes[way.name], files) for way in ways}
    rounds: dict[tuple[str, str], list[list[float]]] = defaultdict(list)
    for _ in range(1 + ROUNDS):
        for name, kinds in calls.items():
            for kind, (call, n) in kinds.items():
                repeats = SINGLES if kind == "one" else 1
                found = [seconds_of(call, process_time) / n for _ in range(repeats)]
                rounds[name, kind].append(found)
    # The first round is a warm-up.
    timings = {key: timing_of(list(chain(*found[1:]))) for key, found in rounds.items()}
    return {
        name: [
            ("checkpoints", _exact(sizes[name])),
            *((f"milliseconds_{kind}", _values(timings[name, kind])) for kind in kinds),
        ]
        for name, kinds in calls.items()
    }


def _exact(value: int) -> Values:
    """A value that nothing makes uncertain."""
    return float(value), float("nan"), float("nan")


def _values(timing: Timing) -> Values:
    return timing.median, timing.low, timing.high


def _batch_size(way: Way, weights: Float[Tensor, "n weights"]) -> int:
    """How many checkpoints take about `SECONDS`, judged by a few."""
    few = weights[:FEW]
    way.metrics(few[:1])
    seconds = seconds_of(lambda: way.metrics(few), process_time)
    return max(1, min(len(weights), int(SECONDS * len(few) / max(seconds, 1e-9))))


def _calls(
    way: Way, weights: Float[Tensor, "n weights"], n: int, files: Sequence[Path]
) -> dict[str, tuple[Callable[[], object], int]]:
    """What is timed of a way, and how many checkpoints each call is about."""
    # Every call meets other weights, as a caller's would: nothing is left in the caches.
    rows = cycle(weights.split(1))
    calls: dict[str, tuple[Callable[[], object], int]] = {
        "one": (lambda: way.metrics(next(rows)), 1),
        "batch": (partial(way.metrics, weights[:n]), n),
        "files": (lambda: way.metrics(weights_of_files(files)), len(files)),
    }
    if way.embeddings is not None:
        calls["embeddings"] = (partial(way.embeddings, weights[:n]), n)
    return calls


def weights_of_files(files: Sequence[Path]) -> Float[Tensor, "n weights"]:
    """All parameters of checkpoint files, read and checked."""
    return torch.stack([extract_key_weights(load_checkpoint(file), "all") for file in files])
