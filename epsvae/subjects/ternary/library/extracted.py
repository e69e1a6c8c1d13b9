"""An extracted library on disk: the seed's file names, and reading a split of it back."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float, Int
from torch import Tensor

from epsvae.atomic import replacing
from epsvae.errors import LibraryError
from epsvae.subjects.ternary import Architecture, operation_index
from epsvae.subjects.ternary.library.architecture import architecture_from_json
from epsvae.subjects.ternary.library.layout import Layout, all_layout

CONFIG, ANCHORS = "config.json", "anchor_operations.npy"
ARRAYS = {"weights": "f4", "rest": "f4", "embeddings": "f4", "metrics": "f8"}
"""Arrays of a split and their types."""
SHORT_NAMES = {"train": "train", "validation": "val", "test": "test"}
"""Splits and how the seed's file names begin for them."""


@dataclass(frozen=True, eq=False)
class ExtractedSplit:
    """One split of an extracted library; row i of everything is one checkpoint.

    The arrays are read from disk when they are used (read-only memory maps).
    """

    weights: Float[np.ndarray, "n key_weights"]
    """Key weights, float32."""
    rest: Float[np.ndarray, "n other"]
    """What follows the key weights in `layout`, float32; the last column is the max radius."""
    embeddings: Float[np.ndarray, "n anchors dim"]
    """Points of the Poincaré ball for the anchor operations, float32."""
    metrics: Float[np.ndarray, "n 3"]
    """In the order of `METRIC_NAMES`, float64."""
    index: pd.DataFrame
    """The rows of the library's index."""
    anchors: Int[Tensor, "anchors"]
    """Index of each anchor operation, sorted."""
    architecture: Architecture

    @property
    def layout(self) -> Layout:
        """Layout of a row of `weights` followed by the same row of `rest`."""
        return all_layout(self.architecture)


def load_split(out_dir: Path | str, split: str) -> ExtractedSplit:
    """Open a split ("train", "validation" or "val", "test") that `extract_library` wrote.

    Raises LibraryError if it is not there whole.
    """
    out_dir = Path(out_dir)
    split = {short: name for name, short in SHORT_NAMES.items()}.get(split, split)
    config = read_config(out_dir)
    if split not in config["splits"]:
        raise LibraryError(
            f"{out_dir}: expected split {split!r}, found {', '.join(config['splits']) or 'none'}"
        )
    try:
        arrays = {what: np.load(split_file(out_dir, split, what), mmap_mode="r") for what in ARRAYS}
        index = pd.read_parquet(split_file(out_dir, split, "index"))
        anchors = operation_index(torch.from_numpy(np.load(out_dir / ANCHORS)).float())
    except (OSError, ValueError) as error:
        raise LibraryError(f"{out_dir}: expected split {split!r} whole, found {error}") from error
    lengths = {"index": len(index)} | {what: len(array) for what, array in arrays.items()}
    n = config["splits"][split]["n"]
    if set(lengths.values()) != {n}:
        raise LibraryError(f"{out_dir}: expected {n} rows of split {split!r}, found {lengths}")
    architecture = architecture_from_json(config["architecture"])
    return ExtractedSplit(**arrays, index=index, anchors=anchors, architecture=architecture)


def split_file(out_dir: Path, split: str, what: str) -> Path:
    """Path of one of `ARRAYS` or of the index of a split."""
    suffix = "npy" if what in ARRAYS else "parquet"
    return out_dir / f"{SHORT_NAMES[split]}_{what}.{suffix}"


def read_config(out_dir: Path) -> dict[str, Any]:
    """`config.json` of an extracted library; raises LibraryError if it is missing or unreadable."""
    path = out_dir / CONFIG
    try:
        config: dict[str, Any] = json.loads(path.read_text())
        return {**config, "splits": dict(config["splits"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LibraryError(f"{path}: expected an extracted library, found {error!r}") from error


def write_config(out_dir: Path, config: dict[str, Any]) -> None:
    """Write `config.json`, at once."""
    with replacing(out_dir / CONFIG) as temporary:
        temporary.write_text(json.dumps(config, indent=1) + "\n")
