"""Predict the behaviour of checkpoint files with a map, and say how far to trust it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import CheckpointError
from epsvae.library.files import SUFFIXES, Checkpoint, load_checkpoint
from epsvae.library.layout import extract_key_weights
from epsvae.map.calibration import Calibration
from epsvae.map.files import AnyMap
from epsvae.map.look import look_finite
from epsvae.map.model import EpsilonVAE
from epsvae.ternary import METRIC_NAMES, Metrics
from epsvae.threads import one_thread

T = TypeVar("T")

ENDS = tuple(f"{name}_{end}" for name in METRIC_NAMES for end in ("low", "high"))
OFF_MAP = ("off_map", "flag", "why")
TRUST = (*ENDS, *OFF_MAP)
"""Columns that a calibration adds: ends of the intervals, the off-map score, and what it means."""


@dataclass(frozen=True, eq=False)
class FilePredictions:
    """What came of a list of files."""

    table: pd.DataFrame
    """Columns file, the metrics' names and, with a calibration, `TRUST`; a row for each file that
    could be read. `flag` is true off the map, where the intervals promise nothing."""
    refused: list[str]
    """Why the others could not."""


def predict_checkpoint(model: AnyMap, checkpoint: Checkpoint) -> Metrics:
    """The three metrics that a map predicts.

    The default map reads any widths and depths. Raises CheckpointError if a map was not made for a
    checkpoint, and if it reads no finite numbers in it.
    """
    return Metrics(*model.predict_metrics(_encode(model, checkpoint)).tolist())


@torch.no_grad()
def _encode(model: AnyMap, checkpoint: Checkpoint) -> Float[Tensor, "latent"]:
    if isinstance(model, EpsilonVAE):
        return look_finite(model, checkpoint, None).z
    n_weights = len(extract_key_weights(checkpoint))
    if n_weights != model.config.n_weights:
        raise CheckpointError(
            f"{checkpoint.path}: expected {model.config.n_weights} key weights, found {n_weights}"
        )
    z = model.encode(checkpoint)
    if not z.isfinite().all():
        raise CheckpointError(f"{checkpoint.path}: expected a finite reading, found NaN or Inf")
    return z


def predict_files(
    model: AnyMap, files: Sequence[Path], calibration: Calibration | None = None
) -> FilePredictions:
    """Predict each file; one that cannot be read is refused with its reason, never guessed.

    A folder stands for the checkpoint files in it, at any depth. `calibration` must be the map's
    own; the seed's maps have none, and one is ignored.
    """
    calibration = calibration if isinstance(model, EpsilonVAE) else None
    rows, refused = each_file(files, lambda file, c: _row(model, file, c, calibration))
    columns = ["file", *METRIC_NAMES, *(TRUST if calibration else ())]
    return FilePredictions(pd.DataFrame(rows, columns=columns), refused)


@one_thread()
def each_file(
    files: Sequence[Path], use: Callable[[Path, Checkpoint], T]
) -> tuple[list[T], list[str]]:
    """(results, refused): what `use` makes of each file, and why others were refused.

    A folder stands for the checkpoint files in it, at any depth. A CheckpointError refuses its file
    and does not stop the others.
    """
    results, refused = [], []
    for path in files:
        try:
            found = checkpoint_files(path)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        for file in found:
            try:
                results.append(use(file, load_checkpoint(file)))
            except CheckpointError as error:
                refused.append(str(error))
    return results, refused


def checkpoint_files(path: Path) -> list[Path]:
    """A file by itself; of a folder, the checkpoint files in it, sorted.

    Raises CheckpointError for a folder without any.
    """
    if not path.is_dir():
        return [path]
    known = (file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    files = sorted(file for file in known if not file.name.startswith("."))
    if not files:
        raise CheckpointError(f"{path}: expected checkpoint files in the folder, found none")
    return files


def _row(
    model: AnyMap, file: Path, checkpoint: Checkpoint, calibration: Calibration | None
) -> dict[str, object]:
    if not (calibration and isinstance(model, EpsilonVAE)):
        return {"file": str(file), **asdict(predict_checkpoint(model, checkpoint))}
    seen = look_finite(model, checkpoint, calibration)
    metrics = model.predict_metrics(seen.z)
    low, high = calibration.intervals(seen.z[None].numpy(), metrics[None].double().numpy())
    ends = np.stack([low, high], axis=-1)
    row: dict[str, object] = {"file": str(file), **asdict(Metrics(*metrics.tolist()))}
    row |= dict(zip(ENDS, ends.ravel().tolist(), strict=True))
    return row | dict(zip(OFF_MAP, (seen.off_map, seen.flag, seen.why), strict=True))


def readable(table: pd.DataFrame) -> str:
    """The table as text: ``0.931 [0.910, 0.952]`` for a metric and its interval; no interval where
    it would promise nothing."""
    shown = table[["file"]].copy()
    for name in METRIC_NAMES:
        shown[name] = [f"{value:.3f}" for value in table[name]]
        if "flag" in table:
            ends = zip(table[f"{name}_low"], table[f"{name}_high"], table["flag"], strict=True)
            shown[name] += ["" if off else f" [{low:.3f}, {high:.3f}]" for low, high, off in ends]
    if "flag" in table:
        shown["off map"] = [f"{value:.2f}" for value in table["off_map"]]
        shown["flag"] = ["OFF MAP" if flag else "" for flag in table["flag"]]
        shown["why"] = table["why"]
    return shown.to_string(index=False)
