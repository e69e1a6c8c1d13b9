"""One table of all checkpoints of a library folder, and the import of folders from elsewhere."""

import logging
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from epsvae.atomic import replacing
from epsvae.errors import CheckpointError, LibraryError, few
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.architecture import architecture_to_json
from epsvae.subjects.ternary.library.files import SUFFIXES, Checkpoint, load_checkpoint, sha256_of
from epsvae.subjects.ternary.library.layout import key_layout

log = logging.getLogger(__name__)

INDEX = "index.parquet"
UNASSIGNED = "unassigned"
"""Split of imported checkpoints until a split is made; see `splits.temporal_split`."""
COLUMNS = (
    ("library", "split", "run", "started", "regime", "epoch", "file", "sha256", "n_weights")
    + METRIC_NAMES
    + ("max_radius", "base", "architecture")
)
"""Columns of every index; what a factory knows besides may follow."""


def write_index(index: pd.DataFrame, root: Path | str) -> None:
    """Save an index as ``<root>/index.parquet``, at once."""
    with replacing(Path(root) / INDEX) as temporary:
        index.to_parquet(temporary, index=False)


def read_index(root: Path | str) -> pd.DataFrame:
    """Read ``<root>/index.parquet``; raises LibraryError if it is missing or is not an index."""
    path = Path(root) / INDEX
    if not path.is_file():
        raise LibraryError(f"{path}: expected the index of a library, found nothing")
    try:
        index = pd.read_parquet(path)
    except (OSError, ValueError) as error:
        raise LibraryError(f"{path}: expected a parquet file, found {error}") from error
    if missing := [name for name in COLUMNS if name not in index]:
        raise LibraryError(f"{path}: expected the columns of an index, missing {few(missing)}")
    return index


@dataclass(frozen=True)
class RefusedFile:
    """A file that an import could not use, and why."""

    file: str
    reason: str


@dataclass(frozen=True)
class ImportedFolder:
    """Index of a folder of foreign checkpoints, and what was refused."""

    index: pd.DataFrame
    """Columns `COLUMNS`. NaN stands for an unknown epoch or metric and for nothing else."""
    refused: list[RefusedFile]


def import_folder(folder: Path | str, library: str) -> ImportedFolder:
    """Index a folder of checkpoints from elsewhere, at any depth; every directory is one run.

    A bad file is refused with its reason and does not stop the import; an unknown metric stays
    unknown. `started` is the rank of a run by the modification time of its oldest file, then by
    name: unpack archives with their times, or set the column yourself. Raises LibraryError if
    `folder` is not a folder.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise LibraryError(f"{folder}: expected a folder of checkpoints, found none")
    rows: list[dict[str, Any]] = []
    refused: list[RefusedFile] = []
    oldest: dict[str, int] = {}
    for path in _checkpoint_files(folder):
        file, run = (p.relative_to(folder).as_posix() for p in (path, path.parent))
        try:
            row = _foreign_row(load_checkpoint(path), sha256_of(path))
            modified = path.stat().st_mtime_ns
        except (CheckpointError, OSError) as error:
            log.warning("refused: %s", error)
            refused.append(RefusedFile(file, str(error)))
            continue
        oldest[run] = min(modified, oldest.get(run, modified))
        rows.append(row | {"library": library, "run": run, "file": file})
    order = {run: rank for rank, run in enumerate(sorted(oldest, key=lambda r: (oldest[r], r)))}
    index = pd.DataFrame(rows, columns=list(COLUMNS))
    index["started"] = index["run"].map(order).astype("int64")
    index = index.sort_values(["started", "epoch", "file"], ignore_index=True)
    return ImportedFolder(index, refused)


def _checkpoint_files(folder: Path) -> list[Path]:
    found = [
        Path(parent) / name
        for parent, _, names in os.walk(folder)
        for name in names
        if Path(name).suffix in SUFFIXES and not name.startswith(".")
    ]
    return sorted(found)


def _foreign_row(checkpoint: Checkpoint, sha256: str) -> dict[str, Any]:
    metrics = checkpoint.metrics
    return {
        "split": UNASSIGNED,
        "regime": "unknown",
        "epoch": np.nan if checkpoint.epoch is None else checkpoint.epoch,
        "sha256": sha256,
        "n_weights": key_layout(checkpoint.architecture).n_weights,
        "max_radius": checkpoint.max_radius,
        "base": "unknown",
        "architecture": architecture_to_json(checkpoint.architecture),
    } | (asdict(metrics) if metrics else dict.fromkeys(METRIC_NAMES, np.nan))
