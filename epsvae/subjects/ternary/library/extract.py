"""From checkpoints to arrays under the seed's file names: weights, embeddings, metrics."""

import hashlib
import json
import logging
import platform
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from epsvae.atomic import remove_partials, replacing
from epsvae.errors import LibraryError, few
from epsvae.subjects.ternary import METRIC_NAMES, Architecture, embed, operation_trits
from epsvae.subjects.ternary.library.anchors import ANCHOR_SEED, anchor_operations
from epsvae.subjects.ternary.library.architecture import (
    architecture_from_json,
    architecture_to_json,
)
from epsvae.subjects.ternary.library.extracted import (
    ANCHORS,
    ARRAYS,
    CONFIG,
    SHORT_NAMES,
    read_config,
    split_file,
    write_config,
)
from epsvae.subjects.ternary.library.files import load_checkpoint, sha256_of
from epsvae.subjects.ternary.library.layout import all_layout, extract_key_weights, key_layout
from epsvae.subjects.ternary.library.splits import SPLITS

log = logging.getLogger(__name__)

BATCH = 32
"""Checkpoints in memory at a time."""


def extract_library(
    index: pd.DataFrame, root: Path | str, out_dir: Path | str, splits: Sequence[str] = SPLITS
) -> None:
    """Write `config.json`, `anchor_operations.npy` (trits) and the arrays of each split.

    `index` lists checkpoints of one architecture under `root`; read the arrays with `load_split`.
    Memory does not grow with their number. A split that is there already for the same rows is left
    alone; an interrupted extraction leaves no half split. Raises LibraryError for a split without
    rows, mixed architectures, a checkpoint without metrics (by path) or one that is not the file
    that was indexed, and if the arrays cannot be written (full disk, no permission);
    CheckpointError for a bad file.
    """
    root, out_dir = Path(root), Path(out_dir)
    parts = {split: _rows(index, split, root) for split in splits}
    architecture = _one_architecture(pd.concat(parts.values()))
    anchors = anchor_operations()
    config = _prepare(out_dir, architecture, anchors)
    for split, part in parts.items():
        wanted = {"n": len(part), "index_sha256": _index_hash(part)}
        if config["splits"].get(split) == wanted and _is_present(out_dir, split):
            log.info("%s: split %r is extracted already", out_dir, split)
            continue
        if config["splits"].pop(split, None):
            write_config(out_dir, config)
        try:
            _extract_split(part, root, out_dir, split, architecture, anchors)
        except OSError as error:
            raise LibraryError(f"{out_dir}: cannot write split {split!r}: {error}") from error
        config["splits"][split] = wanted
        write_config(out_dir, config)


def _rows(index: pd.DataFrame, split: str, root: Path) -> pd.DataFrame:
    if split not in SHORT_NAMES:
        raise LibraryError(f"split: expected one of {', '.join(SHORT_NAMES)}, found {split!r}")
    part = index[index["split"] == split].reset_index(drop=True)
    if part.empty:
        raise LibraryError(f"{root}: expected checkpoints of split {split!r}, found none")
    unknown = part.loc[part[list(METRIC_NAMES)].isna().any(axis=1), "file"]
    if len(unknown):
        files = few(str(root / file) for file in unknown)
        raise LibraryError(f"expected checkpoints with metrics, found none in {files}")
    return part


def _one_architecture(part: pd.DataFrame) -> Architecture:
    found = list(part["architecture"].unique())
    if len(found) != 1:
        raise LibraryError(f"expected checkpoints of one architecture, found {len(found)}: {found}")
    return architecture_from_json(found[0])


def _prepare(out_dir: Path, architecture: Architecture, anchors: Tensor) -> dict[str, Any]:
    """The configuration; with the splits that are there if they have the same columns."""
    layout = all_layout(architecture)
    facts = {
        "architecture": architecture_to_json(architecture),
        "layout": {"names": layout.names, "shapes": layout.shapes},
        "n_key_weights": key_layout(architecture).n_weights,
        "n_weights": layout.n_weights,
        "metrics": METRIC_NAMES,
        "anchors": {"seed": ANCHOR_SEED, "operations": anchors.tolist()},
    }
    facts = json.loads(json.dumps(facts))
    config = read_config(out_dir) if (out_dir / CONFIG).is_file() else {}
    if {name: config.get(name) for name in facts} != facts:
        versions = {name: version(name) for name in ("numpy", "torch")}
        versions["python"] = platform.python_version()
        config = {**facts, "versions": versions, "splits": {}}
        write_config(out_dir, config)
    remove_partials(out_dir)
    with replacing(out_dir / ANCHORS) as temporary, temporary.open("wb") as file:
        np.save(file, operation_trits(anchors).to(torch.int8).numpy())
    return config


def _index_hash(part: pd.DataFrame) -> str:
    return hashlib.sha256(part.to_csv(index=False).encode()).hexdigest()


def _is_present(out_dir: Path, split: str) -> bool:
    return all(split_file(out_dir, split, what).is_file() for what in (*ARRAYS, "index"))


def _extract_split(
    part: pd.DataFrame,
    root: Path,
    out_dir: Path,
    split: str,
    architecture: Architecture,
    anchors: Int[Tensor, "anchors"],
) -> None:
    n_key, n_all = key_layout(architecture).n_weights, all_layout(architecture).n_weights
    row_shapes = {
        "weights": (n_key,),
        "rest": (n_all - n_key,),
        "embeddings": (len(anchors), architecture.latent_dim),
        "metrics": (len(METRIC_NAMES),),
    }
    with ExitStack() as stack:
        index_file = stack.enter_context(replacing(split_file(out_dir, split, "index")))
        part.to_parquet(index_file, index=False)
        files = {
            what: stack.enter_context(
                _npy_file(split_file(out_dir, split, what), (len(part), *shape), ARRAYS[what])
            )
            for what, shape in row_shapes.items()
        }
        progress = stack.enter_context(tqdm(total=len(part), desc=split, unit="checkpoint"))
        for start in range(0, len(part), BATCH):
            rows = part.iloc[start : start + BATCH]
            for what, values in _arrays(rows, root, architecture, anchors).items():
                files[what].write(values.astype(ARRAYS[what]).tobytes())
            progress.update(len(rows))


@contextmanager
def _npy_file(path: Path, shape: tuple[int, ...], dtype: str) -> Iterator[IO[bytes]]:
    """A .npy file to append rows to, which replaces `path` when it is whole.

    Appended and not memory-mapped: on a full disk a write raises OSError, a map kills the process.
    """
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with replacing(path) as temporary, temporary.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        yield file


@torch.no_grad()
def _arrays(
    rows: pd.DataFrame, root: Path, architecture: Architecture, anchors: Int[Tensor, "anchors"]
) -> dict[str, np.ndarray]:
    """Rows of every array for a few checkpoints, run together as one stack."""
    files = zip(rows["file"], rows["sha256"], strict=True)
    vectors = torch.stack([_vector(root / str(file), str(sha256)) for file, sha256 in files])
    state = all_layout(architecture).unflatten(vectors)
    max_radius = vectors[:, -1].view(-1, 1, 1)
    trits = operation_trits(anchors).expand(len(rows), -1, -1)
    embeddings = embed(state, architecture, trits, max_radius)
    n_key = key_layout(architecture).n_weights
    return {
        "weights": vectors[:, :n_key].numpy(),
        "rest": vectors[:, n_key:].numpy(),
        "embeddings": embeddings.numpy(),
        "metrics": rows[list(METRIC_NAMES)].to_numpy("f8"),
    }


def _vector(path: Path, sha256: str) -> Tensor:
    checkpoint = load_checkpoint(path)
    if sha256_of(path) != sha256:
        raise LibraryError(f"{path}: expected the file that was indexed, found another content")
    return extract_key_weights(checkpoint, "all")
