"""Redundant runs: what counts as the same end."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES, METRICS
from epsvae.uses.redundant import last_stretch, redundant_runs, run_ends, run_rows
from epsvae.uses.similar import Places


def places(points, metrics=None):
    """`points` maps a run to its places along a line, by epoch."""
    lines = [(run, float(e), x) for run, line in points.items() for e, x in enumerate(line)]
    table = pd.DataFrame([(run, epoch) for run, epoch, _ in lines], columns=["run", "epoch"])
    for name in METRIC_NAMES:
        table[name] = [(metrics or {}).get(run, 0.5) for run, *_ in lines]
    return Places(
        table, torch.tensor([x for *_, x in lines], dtype=torch.float32)[:, None], METRICS
    )


def test_runs_that_end_closer_than_they_move_are_redundant():
    found = redundant_runs(places({"a": [0, 5, 6], "b": [9, 6.5], "c": [0, 40], "d": [3, 6.2]}))
    pairs = {(r.run, r.other): (r.distance, r.redundant) for r in found.itertuples()}
    assert len(pairs) == 6
    assert pairs["a", "d"] == (pytest.approx(0.2), True)
    assert pairs["a", "b"] == (pytest.approx(0.5), True)
    assert not pairs["a", "c"][1]
    assert found["distance"].is_monotonic_increasing


def test_another_metric_is_another_run():
    table = places({"a": [0, 5], "b": [0, 5], "c": [0, 5]}, {"b": 0.6, "c": np.nan})
    found = redundant_runs(table)
    assert list(found["gap"][:1]) == pytest.approx([0.1])
    assert not found["redundant"].any()  # an unknown metric is no evidence
    assert redundant_runs(table, gap=0.2)["redundant"].tolist() == [True, False, False]


def test_constant_metrics_and_duplicates():
    found = redundant_runs(places({"a": [0, 1], "b": [0, 1]}))
    assert found[["distance", "gap", "redundant"]].to_numpy().tolist() == [[0.0, 0.0, True]]


def test_ends_go_by_epoch_and_else_by_order():
    table = pd.DataFrame({"run": list("aabb"), "epoch": [2.0, 1.0, np.nan, np.nan]})
    assert run_ends(table) == {"a": 0, "b": 3}
    assert run_rows(table) == {"a": [1, 0], "b": [2, 3]}


def test_little_to_compare():
    one = places({"a": [0, 1]})
    assert redundant_runs(one).empty
    assert list(redundant_runs(one).columns) == list(redundant_runs(places({})).columns)
    ends = places({"a": [0], "b": [1]})
    assert np.isnan(last_stretch(ends.table, ends.z))
    with pytest.raises(EpsvaeError, match="distance: expected a number, or runs with two"):
        redundant_runs(ends)
    assert redundant_runs(ends, distance=2.0)["redundant"].tolist() == [True]


def test_the_last_stretch_is_a_share_of_the_run():
    line = places({"a": [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10]})
    line = replace(line, z=line.z.square())
    assert last_stretch(line.table, line.z, 0.2) == 100 - 64
    assert last_stretch(line.table, line.z, 0.01) == 100 - 81
    unknown = line.table.assign(epoch=np.nan)
    assert last_stretch(unknown, line.z, 0.5) in (100 - 16, 100 - 25)
