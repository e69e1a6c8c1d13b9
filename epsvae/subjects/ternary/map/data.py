"""What a map is trained and judged on: the extracted splits of one library, as tensors."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.bootstrap import run_weights
from epsvae.errors import LibraryError
from epsvae.subjects.ternary.library.extracted import ExtractedSplit, load_split

Rows = list[int] | np.ndarray | slice
"""Which checkpoints of a split, in which order."""

EVERY = slice(None)

ARRAYS = {"aligned": "epsilon_vae_hybrid", "unaligned": "epsilon_vae_unaligned"}
"""Libraries that a map is trained on, and the folder of each one's extracted arrays. Its models
lie beside it, in `models_folder`."""
BOTH = "both"
"""What the map is called that learns from all of them together."""


def models_folder(artifacts: Path, library: str) -> Path:
    """Where the default map of a library is, or that of `BOTH`."""
    return artifacts / f"{ARRAYS.get(library, library)}_models"


@dataclass(frozen=True, eq=False)
class MapData:
    """Three splits of one library. Selection may look at `validation`, nothing may look at `test`.

    Raises LibraryError if one run has checkpoints in two splits.
    """

    train: ExtractedSplit
    validation: ExtractedSplit
    test: ExtractedSplit

    def __post_init__(self) -> None:
        sides = [set(runs_of(split)) for split in (self.train, self.validation, self.test)]
        shared = set.union(*(a & b for a, b in zip(sides, sides[1:] + sides[:1], strict=True)))
        if shared:
            raise LibraryError(f"expected each run in one split, found {sorted(shared)} in two")

    def split(self, name: str) -> ExtractedSplit:
        """The split called ``train``, ``validation`` or ``test``."""
        splits = {"train": self.train, "validation": self.validation, "test": self.test}
        if name not in splits:
            raise LibraryError(f"split: expected one of {', '.join(splits)}, found {name!r}")
        return splits[name]


def load_map_data(out_dir: Path | str) -> MapData:
    """The three splits that `extract_library` wrote to `out_dir`."""
    return MapData(*(load_split(out_dir, name) for name in ("train", "validation", "test")))


def load_both(artifacts: Path | str) -> MapData:
    """All of `ARRAYS` under `artifacts` as one library: one map for every regime."""
    return together([load_map_data(Path(artifacts) / folder) for folder in ARRAYS.values()])


def together(libraries: Sequence[MapData]) -> MapData:
    """Several libraries of one architecture as one, in memory; each split joins its own."""
    return MapData(
        *(
            joined([library.split(name) for library in libraries])
            for name in ("train", "validation", "test")
        )
    )


def joined(splits: Sequence[ExtractedSplit]) -> ExtractedSplit:
    """Splits of one architecture as one, in memory."""
    return replace(
        splits[0],
        weights=np.concatenate([split.weights for split in splits]),
        rest=np.concatenate([split.rest for split in splits]),
        embeddings=np.concatenate([split.embeddings for split in splits]),
        metrics=np.concatenate([split.metrics for split in splits]),
        index=pd.concat([split.index for split in splits], ignore_index=True),
    )


def part(split: ExtractedSplit, rows: Rows) -> ExtractedSplit:
    """Some checkpoints of a split, in memory; `rows` are places or truth values."""
    return replace(
        split,
        weights=split.weights[rows],
        rest=split.rest[rows],
        embeddings=split.embeddings[rows],
        metrics=split.metrics[rows],
        index=split.index.iloc[rows].reset_index(drop=True),
    )


def key_weights(split: ExtractedSplit, rows: Rows = EVERY) -> Float[Tensor, "n key_weights"]:
    """Key weights of some checkpoints, read from disk now: only these rows are in memory."""
    return _tensor(split.weights, rows)


def all_weights(split: ExtractedSplit, rows: Rows = EVERY) -> Float[Tensor, "n weights"]:
    """Key weights followed by every other parameter and the max radius: `split.layout`."""
    return torch.cat([_tensor(split.weights, rows), _tensor(split.rest, rows)], dim=1)


def embeddings_of(split: ExtractedSplit, rows: Rows = EVERY) -> Float[Tensor, "n anchors dim"]:
    """True anchor embeddings of some checkpoints."""
    return _tensor(split.embeddings, rows)


def metrics_of(split: ExtractedSplit, rows: Rows = EVERY) -> Float[Tensor, "n 3"]:
    """True metrics of some checkpoints, in the order of `METRIC_NAMES`, as float32."""
    return _tensor(split.metrics, rows)


def _tensor(array: np.ndarray, rows: Rows) -> Tensor:
    """A writable float32 copy of some rows of a memory map."""
    return torch.from_numpy(np.array(array[rows], dtype=np.float32))


def runs_of(split: ExtractedSplit) -> np.ndarray:
    """Name of the run of each checkpoint."""
    return split.index["run"].to_numpy(dtype=object)


def mean_embedding(data: MapData) -> Float[np.ndarray, "anchors dim"]:
    """The training mean of the embeddings, every run counting the same; float32."""
    return run_mean(data.train.embeddings[:], runs_of(data.train)).astype(np.float32)


def run_mean(values: Float[np.ndarray, "n *rest"], runs: np.ndarray) -> Float[np.ndarray, "*rest"]:
    """Mean over runs of each run's mean, in float64: long runs count no more than short ones."""
    return np.tensordot(run_weights(runs), values, axes=1)
