"""The index of a library, and the import of folders from elsewhere."""

import os

import numpy as np
import pandas as pd
import pytest
import torch

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.architecture import architecture_from_json
from epsvae.subjects.ternary.library.files import save_checkpoint, sha256_of
from epsvae.subjects.ternary.library.index import COLUMNS, INDEX, import_folder, read_index
from epsvae.subjects.ternary.library.layout import key_layout
from research.ternary.index import RECIPE_COLUMNS, build_index
from research.ternary.runs import RECORD


def test_one_row_a_checkpoint(library, small):
    index = read_index(library)
    pd.testing.assert_frame_equal(index, build_index(library))
    assert list(index.columns) == [*COLUMNS, *RECIPE_COLUMNS]
    assert len(index) == 10
    assert {"lr", "init_seed", "seed", "encoder_a_lr_scale", "epochs"} <= set(index.columns)
    assert (index["n_weights"] == key_layout(small).n_weights).all()
    assert set(index["split"]) == {"train", "validation", "test"}
    row = index.iloc[3]
    assert (row["run"], row["started"], row["epoch"]) == ("run-1", 1, 2.5)
    assert row["file"] == "small/run-1/epoch_0002.50.safetensors"
    assert row["sha256"] == sha256_of(library / row["file"])
    assert [row[name] for name in METRIC_NAMES] == [0.5, 0.1, -0.01]
    assert row["max_radius"] == 0.91
    assert architecture_from_json(row["architecture"]) == small


def test_incomplete_runs_are_left_out(library):
    (library / "small" / "run-1" / RECORD).unlink()
    assert set(build_index(library)["run"]) == {"run-0", "run-2", "run-3", "run-4"}


def test_contradictions_are_refused(library, tmp_path):
    (library / "small" / "run-1").rename(library / "small" / "run-9")
    with pytest.raises(LibraryError, match="run-9 of library small, found run-1 of small"):
        build_index(library)
    with pytest.raises(LibraryError, match="expected complete runs"):
        build_index(tmp_path / "nothing")


def test_reading_what_is_no_index(tmp_path):
    with pytest.raises(LibraryError, match="index.parquet: expected the index .* found nothing"):
        read_index(tmp_path)
    (tmp_path / INDEX).write_text("text")
    with pytest.raises(LibraryError, match="expected a parquet file"):
        read_index(tmp_path)
    pd.DataFrame({"run": ["a"]}).to_parquet(tmp_path / INDEX)
    with pytest.raises(LibraryError, match="missing library, split"):
        read_index(tmp_path)


@pytest.fixture
def foreign(tmp_path, checkpoint, make_state):
    """A folder as it comes from elsewhere: two runs, some files without metrics, some broken."""
    folder = tmp_path / "foreign"
    metrics = {"coverage": 0.75, "distance_corr_A": 0.5, "radial_corr_A": -0.5}
    for run, time in (("b/early", 1000), ("a-late", 2000)):
        (folder / run).mkdir(parents=True)
        for epoch in range(2):
            contents = {"model": make_state(seed=time + epoch), "epoch": epoch, "metrics": metrics}
            path = folder / run / f"epoch{epoch}.pt"
            torch.save(contents, path)
            os.utime(path, (time + epoch, time + epoch))
    torch.save(make_state(), folder / "a-late" / "final.pth")
    save_checkpoint(folder / "a-late" / "own.safetensors", checkpoint)
    (folder / "a-late" / "broken.ckpt").write_bytes(b"\x80\x02garbage")
    (folder / "a-late" / "empty.pt").touch()
    (folder / "a-late" / "notes.txt").write_text("not looked at")
    (folder / "a-late" / ".half.pt.partial").write_text("not looked at")
    return folder


def test_import(foreign):
    imported = import_folder(foreign, "elsewhere")
    index = imported.index
    assert list(index.columns) == list(COLUMNS)
    assert list(index["run"]) == ["b/early"] * 2 + ["a-late"] * 4
    assert list(index["started"]) == [0, 0, 1, 1, 1, 1]
    assert set(index["library"]) == {"elsewhere"}
    assert set(index["split"]) == {"unassigned"}
    by_file = index.set_index("file")
    assert by_file.loc["a-late/epoch1.pt", "coverage"] == 0.75
    assert by_file.loc["a-late/own.safetensors", "epoch"] == 3.0
    unknown = by_file.loc["a-late/final.pth", [*METRIC_NAMES, "epoch"]]
    assert unknown.isna().all()
    assert not (index[list(METRIC_NAMES)] == 0.0).any(axis=None)
    assert [refused.file for refused in imported.refused] == [
        "a-late/broken.ckpt",
        "a-late/empty.pt",
    ]
    assert all("expected" in refused.reason for refused in imported.refused)


def test_import_of_nothing(tmp_path):
    imported = import_folder(tmp_path, "elsewhere")
    assert imported.index.empty
    assert imported.refused == []
    with pytest.raises(LibraryError, match="expected a folder"):
        import_folder(tmp_path / "missing", "elsewhere")


def test_unknown_metrics_survive_the_disk(foreign, tmp_path):
    index = import_folder(foreign, "elsewhere").index
    index.to_parquet(tmp_path / INDEX)
    assert np.isnan(read_index(tmp_path)["coverage"]).sum() == 1
