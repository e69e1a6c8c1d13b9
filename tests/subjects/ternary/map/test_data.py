"""What maps are trained and judged on: no run on two sides, every run of the same weight."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsvae.bootstrap import run_weights
from epsvae.errors import LibraryError
from epsvae.subjects.ternary.library.layout import all_layout, key_layout
from epsvae.subjects.ternary.library.splits import assert_disjoint
from epsvae.subjects.ternary.map.data import (
    MapData,
    all_weights,
    embeddings_of,
    key_weights,
    load_map_data,
    metrics_of,
    run_mean,
)

names = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=40)


def test_a_run_has_one_side(make_split):
    splits = [make_split([name, "own"], per_run=1) for name in "abc"]
    for left, right in ((0, 1), (0, 2), (1, 2)):
        sides = [make_split([str(i)], per_run=1) for i in range(3)]
        sides[left], sides[right] = splits[left], splits[right]
        with pytest.raises(LibraryError, match=r"each run in one split, found \['own'\] in two"):
            MapData(*sides)


def test_the_reference_release_keeps_runs_and_time_apart(release):
    assert_disjoint(release.index)
    sides = release.index.groupby(["library", "run"])["split"].nunique()
    assert (sides == 1).all()


def test_splits_by_name(data):
    for name in ("train", "validation", "test"):
        assert data.split(name) is getattr(data, name)
    with pytest.raises(LibraryError, match="expected one of train, validation, test, found 'val'"):
        data.split("val")


def test_an_extracted_library_is_needed(tmp_path):
    with pytest.raises(LibraryError, match="config.json: expected an extracted library"):
        load_map_data(tmp_path)


@pytest.mark.parametrize("rows", [slice(None), [4, 0], np.array([1, 1]), slice(2, 5)])
def test_rows_are_float32_copies_in_the_order_asked_for(data, small, rows):
    split, n = data.train, len(data.train.weights[rows])
    key, everything = key_weights(split, rows), all_weights(split, rows)
    assert key.shape == (n, key_layout(small).n_weights)
    assert everything.shape == (n, all_layout(small).n_weights)
    assert torch.equal(everything[:, : key.shape[1]], key)
    assert embeddings_of(split, rows).shape == (n, 256, small.latent_dim)
    np.testing.assert_array_equal(metrics_of(split, rows), split.metrics[rows].astype("f4"))
    before = split.weights.copy()
    key.zero_()
    assert np.array_equal(split.weights, before)


@given(names)
def test_every_run_weighs_the_same(runs):
    runs = np.array(runs, dtype=object)
    weights = run_weights(runs)
    assert weights.sum() == pytest.approx(1)
    for run in set(runs):
        assert weights[runs == run].sum() == pytest.approx(1 / len(set(runs)))


@given(names, st.integers(0, 100))
def test_the_mean_over_runs_is_the_mean_of_their_means(runs, seed):
    runs = np.array(runs, dtype=object)
    values = np.random.default_rng(seed).normal(size=(len(runs), 2, 3))
    means = [values[runs == run].mean(0) for run in set(runs)]
    np.testing.assert_allclose(run_mean(values, runs), np.mean(means, axis=0), atol=1e-12)
