"""The reference release: what chapters read is what checkpoints and maps say."""

import json

import numpy as np
import pytest
import torch

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import METRIC_NAMES, embed, operation_trits
from epsvae.subjects.ternary.library.anchors import anchor_operations
from epsvae.subjects.ternary.library.files import load_checkpoint, sha256_of
from epsvae.subjects.ternary.library.layout import extract_key_weights
from epsvae.subjects.ternary.map.release import MANIFEST, open_release

pytestmark = pytest.mark.numbers


@pytest.mark.parametrize(
    ("library", "sizes"),
    [
        ("aligned", {"train": (48, 825), "validation": (7, 77), "test": (24, 264)}),
        ("unaligned", {"train": (192, 1152), "validation": (16, 96), "test": (32, 192)}),
    ],
)
def test_the_libraries_are_whole(release, library, sizes):
    for split, (n_runs, n_rows) in sizes.items():
        rows = release.rows(library, split)
        assert (rows["run"].nunique(), len(rows)) == (n_runs, n_rows)
        assert set(rows["n_weights"]) == {95_808}
        assert rows[list(METRIC_NAMES)].notna().all(axis=None)


def test_the_library_has_a_front_worth_a_chapter(release):
    """Coverage is traded for distance correlation: many checkpoints that none dominates."""
    rows = release.index[release.index["library"] == "aligned"]
    points = rows[["coverage", "distance_correlation"]].to_numpy()
    dominated = [((points >= p).all(1) & (points > p).any(1)).any() for p in points]
    front = points[~np.array(dominated)]
    assert len(front) >= 10
    assert front[:, 0].min() < 0.2
    assert front[:, 0].max() > 0.99


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_embeddings_are_in_the_order_of_the_index(release, split):
    embeddings = release.embeddings("aligned", split)
    rows = release.rows("aligned", split)
    assert embeddings.shape == (len(rows), 256, 16)
    assert embeddings.dtype == np.float32
    radii = np.linalg.norm(embeddings, axis=-1).max(1)
    assert (radii <= rows["max_radius"] + 1e-3).all()


def test_files_embeddings_metrics_and_latents_agree(release):
    rows, embeddings = release.rows("aligned", "test"), release.embeddings("aligned", "test")
    trits, latents = operation_trits(anchor_operations()), release.latents("aligned")
    model = release.map("aligned")
    for path in release.checkpoint_files()[::7]:
        checkpoint = load_checkpoint(path)
        (row,) = np.flatnonzero(
            (rows["run"] == path.parent.name) & (rows["epoch"] == checkpoint.epoch)
        )
        assert sha256_of(path) == rows.loc[row, "sha256"]
        for name in METRIC_NAMES:
            assert getattr(checkpoint.metrics, name) == rows.loc[row, name]
        points = embed(checkpoint.state, checkpoint.architecture, trits, checkpoint.max_radius)
        np.testing.assert_allclose(embeddings[row], points, atol=1e-3)
        z = model.encode(extract_key_weights(checkpoint, "all"))
        keys = rows.loc[row, ["split", "run", "epoch"]]
        stored = latents[(latents[["split", "run", "epoch"]] == keys).all(axis=1)]
        found = stored.filter(regex=r"^z\d+$").to_numpy()
        np.testing.assert_allclose(found, z[None], atol=1e-3 * max(1.0, float(z.abs().max())))


def test_latents_have_a_row_a_checkpoint(release):
    for library in ("aligned", "unaligned"):
        latents = release.latents(library)
        assert list(latents.columns) == ["split", "run", "epoch", *(f"z{i}" for i in range(64))]
        assert len(latents) == (release.index["library"] == library).sum()
        assert not latents.duplicated(["split", "run", "epoch"]).any()


def test_predictions_are_judged_against_the_index(release):
    predictions = release.table("predictions")
    for (library, split, row), part in predictions.groupby(["library", "split", "row"]):
        truth = release.rows(library, split)
        assert list(part["run"]) == list(truth["run"]), row
        np.testing.assert_allclose(part["coverage"], truth["coverage"], atol=1e-6)


def test_checkpoints_come_run_by_run_and_by_epoch(release):
    files = release.checkpoint_files()
    run = files[0].parent.name
    own = release.checkpoint_files(run)
    assert own == [file for file in files if file.parent.name == run]
    epochs = [load_checkpoint(file).epoch for file in own]
    assert epochs == sorted(epochs)
    assert release.checkpoint_files("no such run") == []
    regimes = release.index.set_index("run").loc[[f.parent.name for f in files], "regime"]
    assert set(regimes) == {"frozen", "progressive", "unfrozen", "homeostatic"}


def test_the_manifest_names_every_file_and_its_content(release):
    files = {
        path.relative_to(release.folder).as_posix(): path
        for path in release.folder.rglob("*")
        if path.is_file() and path.name != MANIFEST
    }
    assert set(release.manifest["files"]) == set(files)
    assert {n: sha256_of(path) for n, path in files.items()} == release.manifest["files"]
    assert {"commit", "scale", "versions", "seconds"} <= set(release.manifest)
    assert (
        release.manifest["versions"]["torch"].partition("+")[0]
        == (torch.__version__.partition("+")[0])
    )


def test_the_release_stays_small(release):
    assert sum(p.stat().st_size for p in release.folder.rglob("*") if p.is_file()) < 70e6


def test_what_is_no_release_is_named(tmp_path):
    with pytest.raises(LibraryError, match=f"{tmp_path}: expected a release with {MANIFEST}"):
        open_release(tmp_path)


def test_an_empty_release_misses_its_index(tmp_path):
    (tmp_path / MANIFEST).write_text(json.dumps({}))
    release = open_release(tmp_path)
    assert release.manifest == {}
    assert release.checkpoint_files() == []
    with pytest.raises(LibraryError, match="expected the index of a library, found nothing"):
        _ = release.index
