"""The full protocol's table: order across runs, rotations, training seeds, paired differences."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import kendalltau, ortho_group, spearmanr

from epsvae.bootstrap import interval, resampled, tau_across
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.map.data import run_mean, runs_of
from epsvae.subjects.ternary.map.prediction import Prediction
from research.rows.judge import (
    OPEN,
    PAIRED_COLUMNS,
    ROTATION_FREE,
    STUDY_COLUMNS,
    all_measures,
    full_score,
    lower_is_better,
    paired_table,
    study_table,
    summarise,
)
from research.rows.rotation_free import rotation_free

pytestmark = pytest.mark.numbers

ACCESS = {"default": "all weights", "other": "nothing", "metrics only": "statistics"}


@pytest.fixture
def mean(data):
    return run_mean(data.train.embeddings, runs_of(data.train)).astype("f4")


@pytest.fixture
def scored(data, mean):
    """A perfect row, one of three seeds (off by 0.1, 0.2, 0.3), and one without embeddings."""
    split = data.test

    def off(by, embeddings=True):
        points = split.embeddings * (1 - by) if embeddings else None
        return full_score(Prediction(points, split.metrics + by), split, mean)

    return {
        "default": [off(0.0)],
        "other": [off(0.1), off(0.2), off(0.3)],
        "metrics only": [off(0.2, embeddings=False)],
    }


def test_order_across_runs_is_kendall_s_tau_of_their_means():
    rng = np.random.default_rng(0)
    runs = np.repeat(list("abcdefg"), [1, 2, 3, 4, 3, 2, 1]).astype(object)
    true = rng.normal(size=len(runs))
    predicted = true + rng.normal(size=len(runs))
    means = [
        [values[runs == run].mean() for run in sorted(set(runs))] for values in (predicted, true)
    ]
    found = tau_across(predicted, true, runs)(np.ones((1, len(runs))))[0]
    assert found == pytest.approx(kendalltau(*means).statistic)


def test_order_across_resampled_runs_is_that_of_a_table_with_copies():
    rng = np.random.default_rng(1)
    runs = np.array(list("abcde"), dtype=object)
    true, predicted = rng.normal(size=(2, 5))
    counts = np.array([[2.0, 0, 1, 1, 1], [0, 3, 0, 1, 1]])
    found = tau_across(predicted, true, runs)(counts)
    for value, count in zip(found, counts.astype(int), strict=True):
        oracle = kendalltau(np.repeat(predicted, count), np.repeat(true, count)).statistic
        assert value == pytest.approx(oracle)


def test_a_constant_orders_no_runs():
    runs = np.array(list("abc"), dtype=object)
    assert np.isnan(tau_across(np.ones(3), np.arange(3.0), runs)(np.ones((1, 3)))[0])


def test_rotations_and_mirrorings_are_not_seen(data):
    points = data.test.embeddings
    turn = ortho_group.rvs(points.shape[-1], random_state=0)
    turned = rotation_free((points @ turn).astype("f4"), points)
    for name, values in turned.items():
        np.testing.assert_allclose(values, 1, atol=1e-3, err_msg=name)
    other = rotation_free(points[::-1].copy(), points)
    for name, values in other.items():
        assert (values < 0.999).all(), name


def test_rotation_free_scores_are_those_of_their_formulas(data, monkeypatch):
    a, b = data.test.embeddings[:1].astype("f8"), data.train.embeddings[:1].astype("f8")
    found = rotation_free(a.astype("f4"), b.astype("f4"))
    u, _, vh = np.linalg.svd(a[0].T @ b[0])
    best = (a[0] @ u @ vh * b[0]).sum() / np.linalg.norm(a[0]) / np.linalg.norm(b[0])
    assert found["procrustes_cosine"][0] == pytest.approx(best, abs=1e-5)
    x, y = (p[0] - p[0].mean(0) for p in (a, b))
    grams = np.trace(x @ x.T @ y @ y.T) / np.linalg.norm(x @ x.T) / np.linalg.norm(y @ y.T)
    assert found["cka"][0] == pytest.approx(grams, abs=1e-5)

    def every_distance(points):
        gaps = np.square(points[:, None] - points).sum(-1)
        room = 1 - np.square(points).sum(-1)
        return np.arccosh(1 + 2 * gaps / np.outer(room, room))[np.triu_indices(len(points), 1)]

    rank = spearmanr(every_distance(a[0]), every_distance(b[0])).statistic
    assert found["distance_spearman"][0] == pytest.approx(rank, abs=0.05)  # of a sample of pairs


def test_a_constant_point_has_rank_correlation_zero(data):
    found = rotation_free(np.zeros_like(data.test.embeddings), data.test.embeddings)
    assert all(not values.any() for values in found.values())


def test_columns_and_measures(scored):
    table = study_table(scored, ACCESS, "made up", "test")
    assert tuple(table.columns) == STUDY_COLUMNS
    assert not table.duplicated(["row", "measure"]).any()
    assert table.groupby("row")["seeds"].unique().map(list).to_dict() == {
        "default": [1],
        "other": [3],
        "metrics only": [1],
    }
    measures = set(table[table["row"] == "default"]["measure"])
    assert set(ROTATION_FREE) < measures
    assert {f"{name}_tau_across" for name in METRIC_NAMES} < measures
    without = set(table[table["row"] == "metrics only"]["measure"])
    assert {m.rpartition("_")[0].removesuffix("_tau") for m in without} == set(METRIC_NAMES)


def test_a_single_seed_is_what_the_validation_table_says(scored):
    table = study_table(scored, ACCESS, "made up", "test")
    rows = table[table["row"] == "default"].set_index("measure")
    for measure, wanted in summarise(scored["default"][0]).items():
        np.testing.assert_allclose(rows.loc[measure, ["value", "low", "high"]].tolist(), wanted)


def test_seeds_are_averaged_and_widen_the_interval(scored):
    table = study_table(scored, ACCESS, "made up", "test").set_index(["row", "measure"])
    value, low, high = table.loc[("other", "coverage_mae"), ["value", "low", "high"]]
    assert value == pytest.approx(0.2)
    assert low == pytest.approx(0.1)  # every checkpoint is off by the same: only seeds differ
    assert high == pytest.approx(0.3)


def test_resampled_seeds_keep_their_mean():
    runs = np.array(list("aabb"), dtype=object)
    seeds = [lambda w, c=c: np.full(len(w), c) for c in (0.0, 1.0)]
    value, replicates = resampled(seeds, runs)
    assert value == 0.5
    assert set(np.unique(replicates)) == {0.0, 0.5, 1.0}
    assert replicates.mean() == pytest.approx(0.5, abs=0.05)
    assert not np.array_equal(replicates, resampled(seeds, runs, stream=1)[1])


def test_a_single_run_has_no_interval():
    value, low, high = interval(*resampled([lambda w: w[:, 0]], np.array(["a"], dtype=object)))
    assert value == 1
    assert np.isnan([low, high]).all()


def test_paired_differences_name_what_is_better(scored):
    table = paired_table(scored, ACCESS, "made up", "test")
    assert tuple(table.columns) == PAIRED_COLUMNS
    assert set(table["row"]) == {"other", "metrics only"}
    assert set(table["reference"]) == {"default"}
    other = table[table["row"] == "other"].set_index("measure")
    assert other.loc["coverage_mae", "value"] == pytest.approx(0.2)
    assert other.loc["coverage_mae", "better"] == "default"
    assert other.loc["embedding_r2", "better"] == "default"
    assert other.loc["cosine", "better"] == OPEN  # shrinking turns nothing
    swapped = paired_table(scored, ACCESS, "made up", "test", reference="other")
    swapped = swapped[swapped["row"] == "default"].set_index("measure")
    np.testing.assert_allclose(swapped.loc[other.index, "value"], -other["value"], atol=1e-12)
    assert swapped.loc["coverage_mae", "better"] == "default"


def test_paired_differences_of_shared_measures_only(scored):
    table = paired_table(scored, ACCESS, "made up", "test")
    measures = set(table[table["row"] == "metrics only"]["measure"])
    assert "coverage_mae" in measures
    assert "cosine" not in measures
    with pytest.raises(KeyError):
        paired_table(scored, ACCESS, "made up", "test", reference="nobody")


def test_errors_are_better_low():
    assert [
        m
        for m in ("coverage_mae", "poincare_error", "cka", "coverage_tau_across")
        if lower_is_better(m)
    ] == ["coverage_mae", "poincare_error"]


def test_measures_follow_the_weights(scored):
    scores = scored["other"][0]
    values = np.arange(len(scores.runs)) * 1.0
    scores = replace(scores, embedding=scores.embedding | {"cka": values})
    weights = np.zeros((1, len(values)))
    weights[0, 3] = 2
    assert all_measures(scores)["cka"](weights)[0] == 3
