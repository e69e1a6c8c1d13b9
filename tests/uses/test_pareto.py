"""Fronts and hypervolumes: brute force agrees, the laws hold, odd input has a defined answer."""

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from epsvae.errors import EpsvaeError
from epsvae.map import predict_files
from epsvae.subjects.ternary.map import open_release
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.uses.pareto import (
    _matrix,
    compare_fronts,
    find_pareto_efficient,
    front_layers,
    front_rows,
    hypervolume,
    hypervolume_interval,
    predicted_front,
)

RELEASE = Path(__file__).resolve().parents[2] / "data" / "reference"


def brute_force(costs: np.ndarray) -> np.ndarray:
    """No other point is at least as small everywhere and smaller somewhere."""
    no_larger = (costs[:, None] <= costs[None]).all(-1)
    smaller = (costs[:, None] < costs[None]).any(-1)
    return ~(no_larger & smaller).any(0)


few_values = st.integers(0, 4).map(float)
clouds = st.integers(1, 6).flatmap(
    lambda k: arrays(float, st.tuples(st.integers(1, 40), st.just(k)), elements=few_values)
)


@given(clouds)
def test_brute_force_agrees_with_ties_and_duplicates_in_any_dimension(costs):
    assert find_pareto_efficient(costs).numpy().tolist() == brute_force(costs).tolist()


@pytest.mark.parametrize("k", [2, 3, 5])
def test_brute_force_agrees_on_many_points(k):
    costs = torch.randn(1500, k, generator=torch.Generator().manual_seed(k))
    assert find_pareto_efficient(costs).numpy().tolist() == brute_force(costs.numpy()).tolist()


def test_infinite_costs_are_dominated_like_any_others():
    costs = torch.tensor([[0.0, 0.0], [torch.inf, 0.0], [-torch.inf, 1.0]])
    assert find_pareto_efficient(costs).tolist() == [True, False, True]


@pytest.mark.parametrize("n", [0, 1])
def test_an_empty_library_has_no_front_and_a_single_checkpoint_is_one(n):
    costs = torch.zeros(n, 2)
    assert find_pareto_efficient(costs).tolist() == [True] * n
    assert hypervolume(costs - 1, (0.0, 0.0)) == float(n)
    found = hypervolume_interval(costs - 1, (0.0, 0.0))
    assert found.value == float(n)
    assert np.isnan([found.low, found.high]).all()


def test_what_is_no_matrix_of_numbers_is_refused():
    with pytest.raises(EpsvaeError, match=r"found shape \(3,\)"):
        _matrix(torch.zeros(3))
    for use in (find_pareto_efficient, lambda x: front_layers(x, 1)):
        with pytest.raises(EpsvaeError, match="costs: expected numbers, found NaN"):
            use(torch.tensor([[0.0, torch.nan]]))
    with pytest.raises(EpsvaeError, match="reference: expected 2"):
        hypervolume(torch.zeros(1, 2), (0.0, 0.0, 0.0))
    with pytest.raises(EpsvaeError, match="groups: expected one for each of 3"):
        hypervolume_interval(torch.zeros(3, 2), (1.0, 1.0), np.arange(2))


def test_a_million_points_take_no_longer_than_promised():
    costs = torch.randn(1_000_000, 2, generator=torch.Generator().manual_seed(0))
    start = time.process_time()
    mask = find_pareto_efficient(costs)
    assert time.process_time() - start < 2
    assert 0 < mask.sum() < 100


def test_layers_are_fronts_taken_off_one_by_one():
    costs = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    first = find_pareto_efficient(costs)
    second = first.clone()
    second[~first] = find_pareto_efficient(costs[~first])
    assert front_layers(costs, 1).tolist() == first.tolist()
    assert front_layers(costs, int(first.sum())).tolist() == first.tolist()
    assert front_layers(costs, int(first.sum()) + 1).tolist() == second.tolist()
    assert front_layers(costs, 300).all()
    assert front_layers(costs, 1000).all()


def test_hypervolume_of_boxes():
    assert hypervolume(np.array([[-1.0, -2.0]]), (0.0, 0.0)) == 2
    assert hypervolume(np.array([[-1.0, -2.0], [-2.0, -1.0]]), (0.0, 0.0)) == 3
    assert hypervolume(np.array([[-1.0, -1.0, -3.0]]), (0.0, 0.0, 0.0)) == 3
    assert hypervolume(np.array([[1.0, -2.0]]), (0.0, 0.0)) == 0


def test_hypervolume_agrees_with_darts():
    rng = np.random.default_rng(0)
    costs = -rng.random((12, 3))
    darts = -rng.random((200_000, 3))
    hit = np.zeros(len(darts), dtype=bool)
    for point in costs:
        hit |= (point <= darts).all(1)
    assert hypervolume(costs, (0.0, 0.0, 0.0)) == pytest.approx(hit.mean(), abs=0.005)


@given(clouds)
def test_a_point_more_never_takes_from_the_hypervolume(costs):
    reference = [5.0] * costs.shape[1]
    whole = hypervolume(costs, reference)
    assert hypervolume(costs[1:], reference) <= whole * (1 + 1e-12)
    assert hypervolume(costs[find_pareto_efficient(costs).numpy()], reference) == pytest.approx(
        whole
    )


def test_the_interval_hangs_below_the_value_and_resamples_groups():
    rng = np.random.default_rng(0)
    costs = -rng.random((60, 2))
    runs = np.repeat([f"run-{i}" for i in range(6)], 10)
    by_point = hypervolume_interval(costs, (0.0, 0.0))
    by_run = hypervolume_interval(costs, (0.0, 0.0), runs)
    assert by_point.low < by_point.high <= by_point.value == by_run.value
    assert by_run.low <= by_run.high <= by_run.value
    assert np.isnan(hypervolume_interval(costs, (0.0, 0.0), np.zeros(60)).low)


def test_fronts_are_compared_with_the_first_one():
    sets = {
        "a": (np.array([[-1.0, -2.0], [-1.0, -1.0]]), np.array([0, 1])),
        "b": (-np.ones((1, 2)), None),
    }
    table = compare_fronts(sets, (0.0, 0.0))
    assert table.index.tolist() == ["a", "b"]
    assert table["points"].tolist() == [2, 1]
    assert table["front"].tolist() == [1, 1]
    assert table["ratio"].tolist() == [1.0, 0.5]
    assert table.loc["a", ["low", "high"]].tolist() == [1.0, 2.0]


def test_the_front_of_a_table_leaves_out_what_is_off_the_map():
    rows = {
        "file": list("abcd"),
        "coverage": [0.9, 0.5, 0.8, 1.0],
        "distance_correlation": [0.5, 0.9, 0.4, 1.0],
        "radial_hierarchy": [-0.1, -0.2, -0.8, -0.8],
        "flag": [False, False, False, True],
    }
    table = pd.DataFrame(rows)
    assert front_rows(table, ("coverage", "distance_correlation"))["file"].tolist() == ["a", "b"]
    three = ("coverage", "distance_correlation", "-radial_hierarchy")
    assert front_rows(table, three)["file"].tolist() == ["a", "b", "c"]
    assert front_rows(table.drop(columns="flag"), ("coverage", "distance_correlation"))[
        "file"
    ].tolist() == ["d"]
    with pytest.raises(EpsvaeError, match="on the map"):
        front_rows(table[3:], ("coverage", "distance_correlation"))


def test_the_predicted_front_of_a_folder():
    release = open_release(RELEASE)
    folder = release.checkpoint_files()[0].parent
    front = predicted_front(
        TernaryMap(release.map()), [folder], ("coverage", "distance_correlation")
    )
    table = predict_files(TernaryMap(release.map()), [folder]).table
    mask = find_pareto_efficient(-table[["coverage", "distance_correlation"]].to_numpy())
    assert front["file"].tolist() == table["file"][mask.numpy()].tolist()


def test_a_folder_without_checkpoints_is_refused_with_its_reason(tmp_path):
    with pytest.raises(EpsvaeError, match="expected checkpoint files in the folder"):
        predicted_front(
            TernaryMap(open_release(RELEASE).map()),
            [tmp_path],
            ("coverage", "distance_correlation"),
        )
