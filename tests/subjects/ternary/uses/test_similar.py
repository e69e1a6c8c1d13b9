"""Places on a map and the search among them, on real files and on broken ones."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.files import load_checkpoint, save_checkpoint
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.subjects.ternary.map.places import release_places
from epsvae.subjects.ternary.map.release import open_release
from epsvae.subjects.ternary.metrics import METRICS
from epsvae.uses.cluster import LOOSE
from epsvae.uses.similar import (
    Places,
    columns,
    find_similar,
    organise,
    place_files,
    readable,
)

pytestmark = pytest.mark.numbers

RELEASE = open_release(Path(__file__).resolve().parents[4] / "data" / "reference")
FILES = RELEASE.checkpoint_files()


@pytest.fixture(scope="module")
def known():
    return release_places(RELEASE.folder, "aligned")


@pytest.fixture
def foreign(tmp_path):
    """A folder as others have it: published files without metrics, a duplicate, a broken one."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name, file in {"a": FILES[0], "b": FILES[5], "twin": FILES[0], "c": FILES[30]}.items():
        contents = {"model_state_dict": load_checkpoint(file).state}
        torch.save(contents, folder / f"{name}.pt")
    (folder / "broken.pt").write_text("text")
    return folder


@pytest.fixture
def wild(tmp_path):
    """A file of the right shapes whose weights nobody trained."""
    checkpoint = load_checkpoint(FILES[0])
    generator = torch.Generator().manual_seed(0)
    state = {n: torch.randn(x.shape, generator=generator) for n, x in checkpoint.state.items()}
    save_checkpoint(tmp_path / "wild.safetensors", replace(checkpoint, state=state))
    return tmp_path / "wild.safetensors"


def test_a_release_knows_all_its_checkpoints(known):
    rows = RELEASE.index[RELEASE.index["library"] == "aligned"]
    assert list(known.table.columns) == columns(METRICS)
    assert known.z.shape == (len(rows), 64)
    assert sorted(known.table["file"]) == sorted(rows["file"])
    truth = rows.set_index("file").loc[known.table["file"], list(METRIC_NAMES)]
    assert np.array_equal(known.table[list(METRIC_NAMES)], truth)
    assert known.table["measured"].all()


def test_a_file_is_found_in_its_library(model, known):
    places = place_files(TernaryMap(model), FILES[:3])
    for file, z in zip(FILES[:3], places.z, strict=True):
        found = find_similar(known, z, 4)
        assert found["file"][0].endswith(f"{file.parent.name}/{file.name}")
        assert found["distance"][0] < 0.05
        assert found["distance"].is_monotonic_increasing
        assert len(found) == 4


def test_a_foreign_folder_by_one_call(model, foreign):
    places = place_files(TernaryMap(model), [foreign])
    assert places.z.shape == (4, 64)
    assert [reason.split(":")[0] for reason in places.refused] == [str(foreign / "broken.pt")]
    assert not places.table["measured"].any()
    assert places.table["epoch"].isna().all()
    assert set(places.table["run"]) == {"theirs"}
    predicted = model.predict_metrics(places.z)
    np.testing.assert_allclose(places.table[list(METRIC_NAMES)], predicted, atol=1e-6)
    found = find_similar(places, places.z[0], 10)
    assert len(found) == 4
    assert list(found["distance"][:2]) == pytest.approx([0, 0], abs=1e-4)  # duplicates


def test_clusters_of_a_folder_by_one_call(model, foreign, wild, calibration):
    places = organise(TernaryMap(model, calibration), [foreign, wild], k=3)
    clusters = dict(zip(places.table["file"], places.table["cluster"], strict=True))
    assert clusters[str(foreign / "a.pt")] == clusters[str(foreign / "twin.pt")]
    assert clusters[str(wild)] == LOOSE
    assert set(clusters.values()) == {0, 1, 2, LOOSE}
    with pytest.raises(EpsvaeError, match="expected at least 5 different checkpoints, found 3"):
        organise(TernaryMap(model), [foreign], k=5)
    with pytest.raises(EpsvaeError, match="expected at least 2 different checkpoints, found 0"):
        organise(TernaryMap(model, calibration), [wild], k=2)


def test_what_is_printed(model, foreign, wild, calibration, known):
    text = readable(place_files(TernaryMap(model, calibration), [FILES[0], wild]), known, 2)
    first, second = text.split("\n\n")
    assert "OFF MAP" not in first
    assert second.splitlines()[0].endswith(" OFF MAP")
    assert "~" not in text
    line = readable(
        place_files(TernaryMap(model), [FILES[0]]), place_files(TernaryMap(model), [foreign]), 1
    ).split("\n")
    assert line[0] == str(FILES[0])
    assert line[2].split()[1:3] == ["theirs", "?"]
    assert line[2].count("~") == 3


def test_nothing_to_search(model, known, tmp_path):
    nothing = place_files(TernaryMap(model), [tmp_path])
    assert nothing.z.shape == (0, 64)
    assert list(nothing.table.columns) == columns(METRICS)
    assert nothing.refused == [f"{tmp_path}: expected checkpoint files in the folder, found none"]
    with pytest.raises(EpsvaeError, match="library: expected at least one checkpoint, found none"):
        find_similar(nothing, known.z[0])
    with pytest.raises(EpsvaeError, match="z: expected finite coordinates"):
        find_similar(known, torch.full((64,), torch.nan))
    with pytest.raises(EpsvaeError, match="nowhere: expected z.parquet, the places of a library"):
        release_places(RELEASE.folder, "nowhere")


def test_one_checkpoint_is_a_library(known):
    one = Places(known.table[:1], known.z[:1], known.metrics)
    assert list(find_similar(one, known.z[7], 5)["file"]) == [known.table["file"][0]]
