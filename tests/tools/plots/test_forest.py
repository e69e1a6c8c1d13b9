"""The forest plot: a dot where a value is, filled or open, an arrowhead where the axis ends."""

import matplotlib.pyplot as plt
import pandas as pd
import pytest

from tools.plots import draw_forest, draw_losses, forest_height, forest_legend

NAN = float("nan")


def lines(*rows):
    columns = ["split", "row", "access", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


@pytest.fixture
def ax():
    figure, ax = plt.subplots(layout="constrained")
    yield ax
    plt.close(figure)


def drawn(ax):
    """(x, row, marker, whether it is filled) of every dot."""
    dots = [line for line in ax.lines if line.get_marker() in ("o", "<")]
    return [
        (
            float(dot.get_xdata()[0]),
            round(float(dot.get_ydata()[0])),
            dot.get_marker(),
            dot.get_markerfacecolor() != "white",
        )
        for dot in dots
    ]


def test_a_dot_for_each_known_value_filled_for_the_first_series(ax):
    table = lines(
        ("test", "mean", "nothing", 0.4, 0.3, 0.5),
        ("validation", "mean", "nothing", 0.45, NAN, NAN),
        ("test", "trees", "statistics", NAN, NAN, NAN),
        ("test", "default", "all weights", 0.01, 0.005, 0.02),
    )
    draw_forest(ax, table, ("test", "validation"))
    assert drawn(ax) == [(0.4, 0, "o", True), (0.01, 2, "o", True), (0.45, 0, "o", False)]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["mean", "trees", "default"]
    assert ax.get_xscale() == "linear"
    assert ax.yaxis_inverted()


def test_exact_rows_are_drawn_at_the_left_end_of_a_logarithmic_axis(ax):
    table = lines(
        ("test", "mean", "nothing", 0.4, 0.3, 0.5),
        ("test", "exact", "function", 0.0, 0.0, 0.0),
    )
    draw_forest(ax, table, ("test",), floor=1e-3)
    assert drawn(ax)[1] == (1e-3, 1, "<", True)
    assert ax.get_xscale() == "log"
    assert ax.get_xlim()[0] == 1e-3


def test_the_legend_names_what_is_there(ax):
    table = lines(("test", "mean", "nothing", 0.4, 0.3, 0.5))
    forest_legend(ax.figure, table, ("test", "validation"))
    (legend,) = ax.figure.legends
    assert [t.get_text() for t in legend.get_texts()] == ["sees nothing", "test", "validation"]


def test_losses_have_a_panel_a_measure_with_all_rows():
    table = pd.concat(
        [
            lines(("test", "mean", "nothing", 0.0, 0.0, 0.0)).assign(measure="embedding_r2"),
            lines(("test", "mean", "nothing", 0.4, 0.3, 0.5)).assign(measure="coverage_mae"),
            lines(("test", "trees", "statistics", 0.1, 0.0, 0.2)).assign(measure="coverage_mae"),
        ]
    )
    figure = draw_losses(table, ["embedding_r2", "coverage_mae"], ("test",), floor=1e-3)
    left, right = figure.axes
    assert drawn(left) == [(1.0, 0, "o", True)]
    assert drawn(right) == [(0.4, 0, "o", True), (0.1, 1, "o", True)]
    assert [ax.get_xlabel() for ax in (left, right)] == ["1 − R²", "MAE coverage"]
    assert [text.get_text() for text in left.get_yticklabels()] == ["mean", "trees"]
    plt.close(figure)


def test_more_rows_take_more_room():
    assert forest_height(18) > forest_height(8) > 2
