"""The released checkpoints as a small extracted library: 22 train, 11 validate, 11 test."""

from pathlib import Path

import pandas as pd
import pytest

from epsvae.subjects.ternary.library.extract import extract_library
from epsvae.subjects.ternary.library.index import import_folder
from epsvae.subjects.ternary.map.data import load_map_data

REFERENCE = Path(__file__).resolve().parents[3] / "data" / "reference"
SPLITS = ("train", "train", "validation", "test")


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """What `reproduce` and the study of rows leave behind, small: files, arrays and a protocol."""
    root = tmp_path_factory.mktemp("artifacts")
    (root / "library").symlink_to(REFERENCE / "checkpoints")
    index = import_folder(REFERENCE / "checkpoints", "aligned").index
    split = dict(zip(sorted(index["run"].unique()), SPLITS, strict=True))
    index = index.assign(split=index["run"].map(split))
    extract_library(index, root / "library", root / "epsilon_vae_hybrid")
    (root / "release").mkdir()
    keys = {"regime": "aligned", "split": "test", "row": "seed hybrid", "access": "key weights"}
    table = pd.DataFrame(
        [("coverage_mae", 0.1, 0.05, 0.2), ("embedding_r2", 0.7, 0.6, 0.9), ("cosine", 1, 1, 1)],
        columns=["measure", "value", "low", "high"],
    )
    table.assign(**keys).to_parquet(root / "release" / "protocol.parquet")
    return root


@pytest.fixture(scope="session")
def data(artifacts):
    """The arrays of the small library."""
    return load_map_data(artifacts / "epsilon_vae_hybrid")
