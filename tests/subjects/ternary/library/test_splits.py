"""Splits keep runs and time apart."""

import pandas as pd
import pytest

from epsvae.errors import LibraryError
from epsvae.subjects.ternary.library.index import read_index
from epsvae.subjects.ternary.library.splits import assert_disjoint, temporal_split


@pytest.fixture
def index(library):
    return read_index(library)


def test_a_clean_split_passes(index):
    assert_disjoint(index)


def test_a_run_on_two_sides(index):
    index.loc[index["file"].str.contains("run-1/epoch_0002"), "split"] = "validation"
    with pytest.raises(LibraryError, match="on several: small/run-1"):
        assert_disjoint(index)


def test_a_run_of_the_same_name_elsewhere_is_another_run(index):
    other = index[index["run"] == "run-0"].assign(library="other", split="test", sha256=["x", "y"])
    assert_disjoint(pd.concat([index, other]))


def test_the_same_file_on_two_sides(index):
    index.loc[9, "sha256"] = index.loc[0, "sha256"]
    with pytest.raises(LibraryError, match=r"small/run-0/.*small/run-4/"):
        assert_disjoint(index)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_held_out_runs_start_later(index, split):
    index.loc[index["split"] == split, "started"] = 2
    with pytest.raises(LibraryError, match=r"'small' to start later .* small/run-\d"):
        assert_disjoint(index)
    assert_disjoint(index[index["split"] == split])  # nothing to be later than


def test_temporal_split_goes_by_run(index):
    index = index.assign(split="unassigned").sample(frac=1, random_state=0)
    halved = temporal_split(index, 2)
    assert_disjoint(halved)
    assert set(halved.loc[halved["split"] == "validation", "run"]) == {"run-3", "run-4"}
    assert set(halved.loc[halved["split"] == "train", "run"]) == {"run-0", "run-1", "run-2"}
    assert set(index["split"]) == {"unassigned"}


@pytest.mark.parametrize("n", [-1, 0, 5, 6])
def test_temporal_split_needs_runs_on_both_sides(index, n):
    with pytest.raises(LibraryError, match="expected 1 to 4 validation runs of 5"):
        temporal_split(index, n)


def test_temporal_split_needs_an_order(index):
    with pytest.raises(LibraryError, match="same start for small/run-2, small/run-3"):
        temporal_split(index.assign(started=index["started"].replace(3, 2)), 2)
