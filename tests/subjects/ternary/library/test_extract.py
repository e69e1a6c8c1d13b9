"""Extraction: arrays that agree with the checkpoints, whole or not there, done once."""

import errno
import json

import numpy as np
import pytest
import torch

from epsvae.errors import CheckpointError, LibraryError
from epsvae.subjects.ternary import METRIC_NAMES, Architecture, embed, operation_trits
from epsvae.subjects.ternary.library import extract
from epsvae.subjects.ternary.library.extract import extract_library
from epsvae.subjects.ternary.library.extracted import load_split
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.library.index import read_index
from epsvae.subjects.ternary.library.layout import all_layout, extract_key_weights, key_layout
from research.ternary.index import build_index
from research.ternary.recipes import BaseRecipe

pytestmark = pytest.mark.numbers

FILES = ("weights.npy", "rest.npy", "embeddings.npy", "metrics.npy", "index.parquet")


@pytest.fixture
def out_dir(tmp_path):
    return tmp_path / "epsilon_vae_hybrid"


def test_arrays_agree_with_checkpoints(library, out_dir, small, monkeypatch):
    monkeypatch.setattr(extract, "BATCH", 4)  # 6 training checkpoints: one batch is not full
    extract_library(read_index(library), library, out_dir)
    train = load_split(out_dir, "train")
    assert train.weights.shape == (6, key_layout(small).n_weights)
    assert train.embeddings.shape == (6, 256, small.latent_dim)
    assert [a.dtype for a in (train.weights, train.rest, train.embeddings)] == ["f4"] * 3
    assert train.metrics.dtype == "f8"
    trits = operation_trits(train.anchors)
    for i, row in train.index.iterrows():
        c = load_checkpoint(library / row["file"])
        vector = np.concatenate([train.weights[i], train.rest[i]])
        assert np.array_equal(vector, extract_key_weights(c, "all").numpy())
        expected = embed(c.state, small, trits, c.max_radius).numpy()
        np.testing.assert_allclose(train.embeddings[i], expected, atol=1e-6)
        assert train.metrics[i].tolist() == [row[name] for name in METRIC_NAMES]


def test_a_row_is_all_that_a_forward_pass_needs(library, out_dir, small):
    extract_library(read_index(library), library, out_dir, ("train",))
    train = load_split(out_dir, "train")
    vector = torch.from_numpy(np.concatenate([train.weights[0], train.rest[0]]))
    state = train.layout.unflatten(vector)
    points = embed(state, train.architecture, operation_trits(train.anchors), float(vector[-1]))
    np.testing.assert_allclose(train.embeddings[0], points.numpy(), atol=1e-6)


def test_file_names_and_config(library, out_dir, small):
    extract_library(read_index(library), library, out_dir)
    names = {f"{split}_{file}" for split in ("train", "val", "test") for file in FILES}
    assert {path.name for path in out_dir.iterdir()} == names | {
        "config.json",
        "anchor_operations.npy",
    }
    config = json.loads((out_dir / "config.json").read_text())
    assert {split: entry["n"] for split, entry in config["splits"].items()} == {
        "train": 6,
        "validation": 2,
        "test": 2,
    }
    assert config["layout"]["names"] == list(all_layout(small).names)
    anchors = np.load(out_dir / "anchor_operations.npy")
    assert (anchors.shape, anchors.dtype) == ((256, 9), np.int8)
    validation = load_split(out_dir, "val")
    assert len(validation.weights) == len(load_split(out_dir, "validation").weights) == 2


def test_extracted_splits_are_left_alone(library, out_dir, monkeypatch):
    index = read_index(library)
    extract_library(index, library, out_dir)
    before = {path.name: path.stat().st_ino for path in out_dir.glob("*_weights.npy")}
    (out_dir / "val_metrics.npy").unlink()
    index.loc[index["split"] == "test", "coverage"] = 0.25
    extract_library(index, library, out_dir)
    after = {path.name: path.stat().st_ino for path in out_dir.glob("*_weights.npy")}
    assert before["train_weights.npy"] == after["train_weights.npy"]
    assert before["val_weights.npy"] != after["val_weights.npy"]
    assert before["test_weights.npy"] != after["test_weights.npy"]
    assert load_split(out_dir, "test").metrics[0][0] == 0.25


def test_checkpoints_without_metrics_are_refused(library, out_dir):
    index = read_index(library)
    index.loc[2, "radial_hierarchy"] = np.nan
    with pytest.raises(LibraryError, match="with metrics, found none in .*run-1/epoch_0001.25"):
        extract_library(index, library, out_dir)
    assert not out_dir.exists()


def test_one_architecture(library, out_dir, make_recipe, write_small_run):
    base = BaseRecipe(architecture=Architecture((12, 8), 4, (6,), 9))
    write_small_run(library, make_recipe("run-5", "test", 5, base=base))
    with pytest.raises(LibraryError, match="one architecture, found 2"):
        extract_library(build_index(library), library, out_dir)


def test_missing_splits(library, out_dir):
    index = read_index(library)
    with pytest.raises(LibraryError, match="expected one of train, validation, test"):
        extract_library(index, library, out_dir, ("val",))
    with pytest.raises(
        LibraryError, match="expected checkpoints of split 'validation', found none"
    ):
        extract_library(index[index["split"] == "train"], library, out_dir)
    with pytest.raises(LibraryError, match="config.json: expected an extracted library"):
        load_split(out_dir, "train")
    extract_library(index, library, out_dir, ("train",))
    with pytest.raises(LibraryError, match="expected split 'test', found train"):
        load_split(out_dir, "test")


@pytest.mark.parametrize("damage", ["changed", "truncated", "removed"])
def test_a_bad_file_leaves_no_half_split(library, out_dir, damage):
    index = read_index(library)
    last = library / index.loc[index["split"] == "train", "file"].iloc[-1]
    if damage == "removed":
        last.unlink()
    else:
        source = library / index["file"].iloc[0] if damage == "changed" else last
        last.write_bytes(source.read_bytes()[: None if damage == "changed" else 100])
    with pytest.raises((LibraryError, CheckpointError), match=last.name):
        extract_library(index, library, out_dir)
    assert {path.name for path in out_dir.iterdir()} == {"config.json", "anchor_operations.npy"}
    with pytest.raises(LibraryError, match="found none"):
        load_split(out_dir, "train")


@pytest.mark.parametrize("name", ["train_weights.npy", "train_index.parquet"])
def test_damaged_extractions_are_refused(library, out_dir, name):
    extract_library(read_index(library), library, out_dir)
    (out_dir / name).write_bytes((out_dir / name).read_bytes()[:200])
    with pytest.raises(LibraryError, match="expected split 'train' whole"):
        load_split(out_dir, "train")


def test_arrays_of_another_split_are_refused(library, out_dir):
    extract_library(read_index(library), library, out_dir)
    (out_dir / "test_metrics.npy").write_bytes((out_dir / "train_metrics.npy").read_bytes())
    with pytest.raises(LibraryError, match="expected 2 rows of split 'test'"):
        load_split(out_dir, "test")


def test_a_full_disk_leaves_no_half_split(library, out_dir, monkeypatch):
    """The message names folder and split; with room again, the rest is extracted."""
    index = read_index(library)
    extract_library(index, library, out_dir, ("train",))
    real = extract._arrays

    def fill_up(*args):
        if "run-4" in args[0]["file"].iloc[-1]:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*args)

    with monkeypatch.context() as patch:
        patch.setattr(extract, "_arrays", fill_up)
        with pytest.raises(LibraryError) as caught:
            extract_library(index, library, out_dir)
    assert str(caught.value) == (
        f"{out_dir}: cannot write split 'test': [Errno 28] No space left on device"
    )
    assert not [path for path in out_dir.iterdir() if path.name.startswith((".", "test"))]
    assert len(load_split(out_dir, "validation").metrics) == 2
    extract_library(index, library, out_dir)
    assert len(load_split(out_dir, "test").metrics) == 2
