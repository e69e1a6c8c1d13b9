"""Predict the behaviour of checkpoint files with a map, and say how far to trust it."""

from collections.abc import Callable, Iterator, Sequence
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
from epsvae.map.fingerprint import checkpoint_fingerprint
from epsvae.map.model import EpsilonVAE
from epsvae.map.offmap import Novelty
from epsvae.map.seed import SeedVAE
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
    if isinstance(model, SeedVAE):
        n_weights = len(extract_key_weights(checkpoint))
        if n_weights != model.config.n_weights:
            raise CheckpointError(
                f"{checkpoint.path}: expected {model.config.n_weights} key weights, "
                f"found {n_weights}"
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
    z = _encode(model, checkpoint)
    metrics = model.predict_metrics(z)
    row: dict[str, object] = {"file": str(file), **asdict(Metrics(*metrics.tolist()))}
    if calibration and isinstance(model, EpsilonVAE):
        ends = np.stack(
            calibration.intervals(z[None].numpy(), metrics[None].double().numpy()), axis=-1
        )
        row |= dict(zip(ENDS, ends.ravel().tolist(), strict=True))
        row |= dict(zip(OFF_MAP, judge(model, checkpoint, calibration), strict=True))
    return row


def judge(
    model: EpsilonVAE, checkpoint: Checkpoint, calibration: Calibration
) -> tuple[float, bool, str]:
    """Off-map score, whether it raises the flag, and what stands out: ``off_map, flag, why``."""
    novelty = calibration.offmap(checkpoint_fingerprint(model, checkpoint))
    return float(novelty.score), novelty.flagged[0], next(reasons(novelty))


def off_map_score(
    model: EpsilonVAE, checkpoint: Checkpoint, calibration: Calibration | None
) -> float:
    """Above 1 is off the map; NaN without a calibration."""
    return float("nan") if calibration is None else judge(model, checkpoint, calibration)[0]


def refuse_off_map(
    model: EpsilonVAE, checkpoint: Checkpoint, calibration: Calibration | None
) -> None:
    """Raise CheckpointError for a checkpoint that the map's off-map score flags; without a
    calibration nothing is refused."""
    if calibration is None:
        return
    score, flagged, why = judge(model, checkpoint, calibration)
    if flagged:
        raise CheckpointError(
            f"{checkpoint.path}: expected a checkpoint on the map, found an off-map score of "
            f"{score:.2f}: {why}"
        )


def reasons(novelty: Novelty) -> Iterator[str]:
    """In words, what stands out of each checkpoint; empty where it is on the map."""
    parts = {"behaviour": novelty.reading, "weights": novelty.weights}
    for row in range(len(novelty.score)):
        found = [f"{n} ({p.block[row]})" for n, p in parts.items() if p.score[row] > 1]
        yield ", ".join(found)


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
