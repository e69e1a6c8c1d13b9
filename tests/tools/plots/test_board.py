"""The validation table made readable: order, losses, bold, and who leads by how much."""

import numpy as np
import pandas as pd
import pytest

from tools.plots import (
    ACCESS_COLOURS,
    METRIC_COLOURS,
    REGIME_COLOURS,
    as_loss,
    board,
    describe_row,
    is_error,
    leads,
    loss_label,
    measure_label,
    order_rows,
    sees_no_more,
)

NAN = float("nan")


def lines(*rows):
    columns = ["regime", "row", "access", "measure", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def table():
    """Two measures of a constant, of trees without embeddings, of the map and of an exact row."""
    return lines(
        ("a", "mean", "nothing", "coverage_mae", 0.4, 0.3, 0.5),
        ("a", "mean", "nothing", "embedding_r2", 0.0, 0.0, 0.0),
        ("a", "trees", "statistics", "coverage_mae", 0.0204, 0.01, 0.03),
        ("a", "trees", "statistics", "embedding_r2", NAN, NAN, NAN),
        ("a", "default, key weights", "key weights", "coverage_mae", 0.01, 0.01, 0.01),
        ("a", "default, key weights", "key weights", "embedding_r2", 0.97, 0.96, 0.98),
        ("a", "default", "all weights", "coverage_mae", 0.0202, 0.015, 0.025),
        ("a", "default", "all weights", "embedding_r2", 0.99, 0.98, 0.995),
        ("a", "exact", "function", "coverage_mae", 0.0, 0.0, 0.0),
        ("a", "exact", "function", "embedding_r2", 1.0, 1.0, 1.0),
    )


def test_accesses_have_colours_of_their_own():
    colours = [*ACCESS_COLOURS.values(), *METRIC_COLOURS.values(), *REGIME_COLOURS.values()]
    assert len({colour.lower() for colour in colours}) == len(colours)


def test_rows_are_sorted_by_access_within_their_regime():
    shuffled = lines(
        ("b", "exact", "function", "cosine", 1.0, 1.0, 1.0),
        ("b", "odd", "tea leaves", "cosine", 0.1, 0.1, 0.1),
        ("b", "default, key weights", "key weights", "cosine", 0.9, 0.9, 0.9),
        ("b", "first", "weights", "cosine", 0.8, 0.7, 0.9),
        ("b", "second", "key weights", "cosine", 0.8, 0.7, 0.9),
        ("b", "mean", "nothing", "cosine", 0.5, 0.4, 0.6),
        ("a", "mean", "nothing", "cosine", 0.5, 0.4, 0.6),
    )
    ordered = order_rows(shuffled.set_axis([7, 3, 5, 9, 1, 2, 4]))
    rows = ["mean", "first", "second", "default, key weights", "exact", "odd", "mean"]
    assert ordered["row"].tolist() == rows
    assert ordered["regime"].tolist() == ["b"] * 6 + ["a"]
    assert ordered["access"].tolist()[1:4] == ["key weights"] * 3
    assert ordered.index.tolist() == list(range(7))


def test_what_is_an_error():
    assert is_error("coverage_mae") and is_error("poincare_error")
    assert not any(map(is_error, ("embedding_r2", "cosine", "coverage_tau_within", "cka")))


def test_as_loss_turns_values_and_intervals(table):
    turned = as_loss(table).set_index(["row", "measure"])[["value", "low", "high"]]
    np.testing.assert_allclose(turned.loc[("default", "embedding_r2")], [0.01, 0.005, 0.02])
    np.testing.assert_allclose(turned.loc[("default", "coverage_mae")], [0.0202, 0.015, 0.025])
    assert turned.loc[("trees", "embedding_r2")].isna().all()
    assert table["value"].max() == 1.0  # the argument stays as it was


def test_labels():
    assert measure_label("embedding_r2") == "R²"
    assert measure_label("interval_width") == "interval width"
    assert loss_label("embedding_r2") == "1 − R²"
    assert loss_label("coverage_mae") == "MAE coverage"
    assert describe_row("training mean").startswith("one answer")
    assert describe_row("no such row") == "–"


def test_rows_that_see_more_do_not_compete(table):
    assert table.loc[~sees_no_more(table), "row"].unique().tolist() == ["exact"]
    with pytest.raises(ValueError, match="'somebody'"):
        sees_no_more(table, "somebody")


def test_board_keeps_the_order_and_marks_the_best_of_the_fair(table):
    shown = board(table, ["embedding_r2", "coverage_mae", "cosine"])
    names = [name.replace("\u00a0", " ") for name in shown.index.get_level_values("row")]
    assert names == table["row"].unique().tolist()
    assert shown["R²"].tolist() == ["0.000", "–", "0.970", "<b>0.990</b>", "1.000"]
    expected = ["0.400", "0.020", "<b>0.010</b>", "0.020", "0.000"]
    assert shown["MAE coverage"].tolist() == expected
    assert set(shown["cosine"]) == {"–"}


def test_board_marks_what_reads_the_same(table):
    shown = board(table[table["row"] != "default, key weights"], ["coverage_mae"])
    assert shown["MAE coverage"].tolist() == ["0.400", "<b>0.020</b>", "<b>0.020</b>", "0.000"]


def test_leads_without_pairs_need_intervals_that_do_not_touch(table):
    found = leads(table).set_index("measure")
    assert found["row"].to_dict() == {"coverage_mae": "trees", "embedding_r2": "mean"}
    assert found.loc["embedding_r2", ["default", "value", "lead"]].tolist() == [0.99, 0.0, 0.99]
    np.testing.assert_allclose(found.loc["coverage_mae", "low"], 0.01 - 0.025)
    assert found["better"].to_dict() == {"coverage_mae": "", "embedding_r2": "default"}


@pytest.mark.parametrize(
    ("low", "high", "better"), [(0.1, 0.3, "default"), (-0.3, -0.1, "trees"), (-0.1, 0.1, "")]
)
def test_leads_of_errors_take_the_paired_interval(table, low, high, better):
    columns = ["regime", "row", "measure", "low", "high"]
    paired = pd.DataFrame([("a", "trees", "coverage_mae", low, high)], columns=columns)
    found = leads(table, paired).set_index("measure")
    assert found.loc["coverage_mae", ["low", "high", "better"]].tolist() == [low, high, better]
    assert found.loc["embedding_r2", "better"] == "default"  # no pair: the own intervals


def test_paired_intervals_of_scores_change_their_sign(table):
    columns = ["regime", "row", "measure", "low", "high"]
    paired = pd.DataFrame([("a", "mean", "embedding_r2", -0.995, -0.98)], columns=columns)
    found = leads(table, paired).set_index("measure")
    expected = [0.98, 0.995, "default"]
    assert found.loc["embedding_r2", ["low", "high", "better"]].tolist() == expected
