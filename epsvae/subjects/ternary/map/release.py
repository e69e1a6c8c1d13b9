"""The reference release: what the chapters read, small enough to live beside them.

index.parquet         one row a checkpoint, all libraries
<library>/            map.pt, calibration.safetensors, z.parquet, statistics.parquet,
                      {train,validation,test}_embeddings.npy (float16)
both/                 the map of both libraries, its calibration and z
validation.parquet    the table that `make reproduce` rebuilds, predictions.parquet its metrics
curves.parquet        losses of the trainings
steered.parquet       points of the aligned map that are better than its library
checkpoints/          real checkpoint files, in their run folders
{digits,text}/        the maps of two other families, map.safetensors, and in runs/ checkpoints of
                      theirs; first_results.parquet holds their errors
manifest.json         where all this comes from: commit, versions, hashes, times

All other tables are those of `make study`: seed_predictions, seed_curves (the seed's models);
protocol, paired, costs (all rows, three seeds); intervals, offmap, audit; fresh, fresh_paired,
fresh_coverage (new runs); knowing; ablations, scaling; decoded, forecast, weight_paths, paths (the
uses).
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from epsvae.errors import LibraryError
from epsvae.subjects.ternary.library.index import read_index
from epsvae.subjects.ternary.map.files import AnyMap, load_epsilon_vae
from epsvae.subjects.ternary.map.look import TernaryMap, open_map

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Release:
    """A release folder; everything is read when it is asked for."""

    folder: Path

    @cached_property
    def index(self) -> pd.DataFrame:
        """One row a checkpoint; columns of `epsvae.subjects.ternary.library.build_index`."""
        return read_index(self.folder)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Commit, versions, hashes and times of the build."""
        manifest: dict[str, Any] = json.loads((self.folder / MANIFEST).read_text())
        return manifest

    def table(self, name: str) -> pd.DataFrame:
        """One of the release's tables, by its name without the ending."""
        return pd.read_parquet(self.folder / f"{name}.parquet")

    def map(self, library: str = "aligned") -> AnyMap:
        """The default map of a library."""
        return load_epsilon_vae(self.folder / library / "map.pt")

    def asked(self, library: str = "aligned") -> TernaryMap:
        """The same with its calibration, ready to be asked about files."""
        return open_map(self.folder / library / "map.pt")

    def rows(self, library: str, split: str) -> pd.DataFrame:
        """The index of one split, in the order of its embeddings."""
        index = self.index
        chosen = (index["library"] == library) & (index["split"] == split)
        return index[chosen].reset_index(drop=True)

    def embeddings(self, library: str, split: str) -> Float[np.ndarray, "n anchors dim"]:
        """True anchor embeddings of one split, float32 (stored as float16: 3 digits)."""
        stored = np.load(self.folder / library / f"{split}_embeddings.npy")
        return stored.astype(np.float32)

    def latents(self, library: str) -> pd.DataFrame:
        """z of every checkpoint of a library: columns split, run, epoch, z0 ... z63."""
        return pd.read_parquet(self.folder / library / "z.parquet")

    def checkpoint_files(self, run: str | None = None) -> list[Path]:
        """The real checkpoint files that the release carries, of one run or of all, by epoch."""
        return sorted((self.folder / "checkpoints").glob(f"{run or '*'}/*.safetensors"))


def z_of(table: pd.DataFrame) -> Float[np.ndarray, "n latent"]:
    """The columns z0, z1 … of a table of `Release.latents`, float32."""
    return table.filter(regex=r"^z\d+$").to_numpy(np.float32, copy=True)


def open_release(folder: Path | str) -> Release:
    """Open a release; raises LibraryError, naming the folder, if it is not one."""
    folder = Path(folder)
    if not (folder / MANIFEST).is_file():
        raise LibraryError(f"{folder}: expected a release with {MANIFEST}, found none")
    return Release(folder)
