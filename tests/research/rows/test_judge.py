"""The validation table: anchored at perfect and at the mean, its intervals over whole runs."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsvae.bootstrap import REPLICATES, bootstrap_weights
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.map.data import run_mean, runs_of
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.scores import Scores, score
from research.rows.judge import (
    COLUMNS,
    measures,
    summarise,
    validation_table,
)

pytestmark = pytest.mark.numbers

MEASURES = {
    *(f"{name}_{kind}" for name in METRIC_NAMES for kind in ("mae", "tau_within")),
    *("embedding_r2", "cosine", "cosine_gain", "poincare_error"),
}


def made_up(errors, runs, embedding=True):
    """Scores whose metrics miss by the given errors."""
    errors, n = np.asarray(errors, dtype=float), len(runs)
    true = np.random.default_rng(0).uniform(0.2, 0.4, (n, 3))
    part = {
        "squared_error": errors**2,
        "mean_squared_error": np.ones(n),
        "cosine": 1 - errors,
        "mean_cosine": np.full(n, 0.5),
        "poincare_error": errors,
    }
    runs = np.array(runs, dtype=object)
    return Scores(runs, true + errors[:, None], true, part if embedding else {})


@pytest.fixture(scope="module")
def table(data):
    mean = run_mean(data.train.embeddings, runs_of(data.train)).astype("f4")
    rows = {"perfect": {}, "mean": {}, "metrics only": {}}
    for name in ("validation", "test"):
        split = data.split(name)
        n = len(split.metrics)
        rows["perfect"][name] = Prediction(split.embeddings, split.metrics)
        constant = np.tile(split.metrics.mean(0), (n, 1))
        rows["mean"][name] = Prediction(np.tile(mean, (n, 1, 1)), constant)
        rows["metrics only"][name] = Prediction(None, split.metrics + 0.1)
    access = {"perfect": "function", "mean": "nothing", "metrics only": "weights"}
    return validation_table(rows, access, data, "made up")


def values(table, row, split="test"):
    chosen = table[(table["row"] == row) & (table["split"] == split)]
    return chosen.set_index("measure")["value"]


def test_columns_and_rows(table):
    assert tuple(table.columns) == COLUMNS
    assert set(table["regime"]) == {"made up"}
    assert set(table["split"]) == {"validation", "test"}
    assert not table.duplicated(["split", "row", "measure"]).any()
    assert table.set_index("row")["access"].to_dict() == {
        "perfect": "function",
        "mean": "nothing",
        "metrics only": "weights",
    }
    assert set(values(table, "perfect").index) == MEASURES


def test_perfect_is_one_and_zero(table):
    for split in ("validation", "test"):
        found = values(table, "perfect", split)
        assert found["embedding_r2"] == 1
        assert found["cosine"] == pytest.approx(1)
        assert found["poincare_error"] == pytest.approx(0, abs=1e-3)
        for name in METRIC_NAMES:
            assert found[f"{name}_mae"] == 0
            assert found[f"{name}_tau_within"] == pytest.approx(1)


def test_the_mean_explains_nothing(table):
    found = values(table, "mean")
    assert found["embedding_r2"] == pytest.approx(0)
    assert found["cosine_gain"] == pytest.approx(0)
    for name in METRIC_NAMES:  # a constant puts nothing in order
        assert found[f"{name}_tau_within"] == 0


def test_rows_without_embeddings_have_no_such_measure(table):
    found = values(table, "metrics only")
    assert set(found.index) == {m for m in MEASURES if m.rpartition("_")[0] in METRIC_NAMES} | {
        f"{name}_tau_within" for name in METRIC_NAMES
    }
    assert found["coverage_mae"] == pytest.approx(0.1)


def test_intervals_hold_their_value(table):
    known = table.dropna()
    assert len(known) > 20
    assert (known["low"] <= known["value"] + 1e-9).all()
    assert (known["value"] <= known["high"] + 1e-9).all()


def test_the_table_is_the_same_every_time(data, table):
    mean = run_mean(data.train.embeddings, runs_of(data.train)).astype("f4")
    prediction = Prediction(data.test.embeddings[::-1].copy(), data.test.metrics[::-1].copy())
    first, second = (summarise(score(prediction, data.test, mean)) for _ in range(2))
    assert first == second


@given(st.lists(st.integers(1, 6), min_size=2, max_size=8))
def test_bootstrap_draws_whole_runs(lengths):
    """All checkpoints of a run count alike, and as many runs are drawn as there are."""
    runs = np.repeat([f"run-{i}" for i in range(len(lengths))], lengths).astype(object)
    weights = bootstrap_weights(runs)
    assert weights.shape == (REPLICATES, len(runs))
    firsts = np.cumsum([0, *lengths[:-1]])
    assert (weights[:, firsts].sum(1) == len(lengths)).all()
    np.testing.assert_array_equal(weights, np.repeat(weights[:, firsts], lengths, axis=1))
    assert weights[:, firsts].mean() == 1


def test_bootstrap_is_blind_to_the_order_of_checkpoints():
    runs = np.array(list("aabbbcd"), dtype=object)
    order = np.random.default_rng(0).permutation(len(runs))
    np.testing.assert_array_equal(bootstrap_weights(runs[order]), bootstrap_weights(runs)[:, order])


def test_a_single_run_has_no_interval():
    assert bootstrap_weights(np.array(["a", "a"], dtype=object)) is None
    value, low, high = summarise(made_up([0.1, 0.3], ["a", "a"]))["coverage_mae"]
    assert value == pytest.approx(0.2)
    assert np.isnan([low, high]).all()


def test_more_checkpoints_of_the_same_runs_do_not_narrow_an_interval():
    """Resampling checkpoints would: it takes a copy for a new observation."""
    errors, runs = [0.1, 0.2, 0.4, 0.5], list("abcd")
    once = summarise(made_up(errors, runs))["coverage_mae"]
    often = summarise(made_up(np.repeat(errors, 9), list(np.repeat(runs, 9))))["coverage_mae"]
    assert once == pytest.approx(often)
    assert once[2] - once[1] > 0.2


def test_measures_are_weighted_means():
    scores = made_up([0.1, 0.3, 0.5], ["a", "a", "b"])
    weights = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, 2.0]])
    found = {name: measure(weights) for name, measure in measures(scores).items()}
    np.testing.assert_allclose(found["coverage_mae"], [0.3, 0.5])
    np.testing.assert_allclose(found["embedding_r2"], [1 - 0.35 / 3, 0.75])
    np.testing.assert_allclose(found["cosine_gain"], [0.2, 0.0])


def test_order_within_runs_is_not_order_across_them():
    """Right within every run and wrong between runs is a tau of 1 here."""
    true = np.array([0.1, 0.2, 0.3, 0.6, 0.7, 0.8])
    predicted = np.array([0.7, 0.8, 0.9, 0.0, 0.1, 0.2])
    triple = np.repeat(true[:, None], 3, 1), np.repeat(predicted[:, None], 3, 1)
    scores = Scores(np.array(list("aaabbb"), dtype=object), triple[1], triple[0], {})
    assert summarise(scores)["coverage_tau_within"][0] == pytest.approx(1)


def test_the_released_table_has_the_same_columns(release):
    stored = release.table("validation")
    assert tuple(stored.columns) == COLUMNS
    assert set(stored["measure"]) == MEASURES
    training_mean = stored[stored["row"] == "training mean"].set_index("measure")["value"]
    np.testing.assert_allclose(training_mean["embedding_r2"], 0, atol=1e-6)
    pd.testing.assert_frame_equal(
        stored, stored.drop_duplicates(["regime", "split", "row", "measure"])
    )
