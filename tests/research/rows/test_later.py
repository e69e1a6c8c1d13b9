"""Forecasting: splits that share runs and not their times."""

import pytest

from epsvae.errors import LibraryError
from epsvae.subjects.ternary.map.data import MapData, runs_of
from research.rows.later import LaterData, later_in_the_run


def test_first_halves_of_all_runs_are_learned_from(data):
    """Three checkpoints a run: the middle one is in the first half."""
    later = later_in_the_run(data)
    splits = (data.train, data.validation, data.test)
    assert set(runs_of(later.train)) == {run for split in splits for run in runs_of(split)}
    assert set(later.train.index["epoch"]) == {1.0, 2.0}
    for found, whole in ((later.validation, data.validation), (later.test, data.test)):
        assert list(runs_of(found)) == list(runs_of(whole)[::3])
        assert set(found.index["epoch"]) == {3.0}
        assert (found.weights == whole.weights[2::3]).all()
        assert (found.metrics == whole.metrics[2::3]).all()


def test_even_runs_are_cut_in_the_middle(make_split):
    later = later_in_the_run(MapData(*(make_split([name], 4) for name in "abc")))
    assert [len(s.metrics) for s in (later.train, later.validation, later.test)] == [6, 2, 2]


def test_what_is_predicted_must_be_later(data):
    later = later_in_the_run(data)
    with pytest.raises(LibraryError, match="run-11"):
        LaterData(later.train, later.validation, data.test)
