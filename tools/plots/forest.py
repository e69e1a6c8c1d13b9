"""The validation table drawn: a line for each row, a dot and its interval for each split."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from tools.plots.board import ACCESS_COLOURS, as_loss, loss_label

__all__ = ["draw_forest", "draw_losses", "forest_height", "forest_legend"]

GAP = 0.17
"""Half the vertical distance between the first and the last series of a row."""


def forest_height(n_rows: int) -> float:
    """Inches that a forest of so many rows takes, axis labels and legend included."""
    return 1.5 + 0.25 * n_rows


def draw_losses(
    table: pd.DataFrame, measures: Sequence[str], order: Sequence[str], floor: float
) -> Figure:
    """A figure of one regime: a panel for each measure, all as losses on logarithmic axes.

    `table` is an ordered validation table of one regime; `order` names its splits, `floor` is the
    left end of the axes (see `draw_forest`). A row without a measure has a line without a dot.
    """
    rows = table[["row", "access"]].drop_duplicates()
    size = (7.2, forest_height(len(rows)))
    figure, axes = plt.subplots(1, len(measures), figsize=size, sharey=True, squeeze=False)
    losses = as_loss(table)
    for ax, measure in zip(axes[0], measures, strict=True):
        dots = rows.merge(losses[losses["measure"] == measure], how="left", on=["row", "access"])
        draw_forest(ax, dots, order, floor=floor)
        ax.set_xlabel(loss_label(measure))
    forest_legend(figure, table, order)
    return figure


def draw_forest(
    ax: Axes,
    table: pd.DataFrame,
    order: Sequence[str],
    series: str = "split",
    floor: float | None = None,
    highlight: str | None = "default",
) -> None:
    """One measure of every row: dots with their intervals, coloured by what the row may see.

    Args:
        table: columns row, access, value, low, high and `series`, a line for each dot. Rows are
            drawn from top to bottom as they come; NaN draws nothing.
        order: the series to draw, from top to bottom; the first has filled dots, others are open.
        series: the column that tells the dots of one row apart.
        floor: makes the axis logarithmic, and is its left end: a smaller value, such as the error
            of an exact row, is drawn there as an arrowhead.
        highlight: a row with a shaded background.
    """
    rows = list(dict.fromkeys(table["row"]))
    offsets = np.linspace(-GAP, GAP, len(order)) if len(order) > 1 else [0.0]
    for place, name in enumerate(order):
        for dot in table[(table[series] == name) & table["value"].notna()].itertuples():
            y, colour = rows.index(str(dot.row)) + offsets[place], _colour(str(dot.access))
            value, low, high = np.array([dot.value, dot.low, dot.high], dtype=float)
            exact = floor is not None and value < floor
            if floor is not None:
                value, low, high = np.maximum([value, low, high], floor)
            ax.hlines(y, low, high, color=colour, lw=1.2)
            face = "white" if place else colour
            marker = "<" if exact else "o"
            ax.plot(value, y, marker, ms=4.5, mfc=face, mec=colour, mew=1.1, clip_on=False)
    _draw_rows(ax, table, rows, highlight)
    if floor is not None:
        ax.set_xscale("log")
        ax.set_xlim(left=floor)
        ax.xaxis.set_major_locator(LogLocator(numticks=9))
        ax.xaxis.set_minor_formatter(NullFormatter())
        ax.tick_params(axis="x", labelsize=8)


def _draw_rows(ax: Axes, table: pd.DataFrame, rows: list[str], highlight: str | None) -> None:
    """Names of the rows, a line where the access changes, a shade behind one row."""
    access = table.drop_duplicates("row")["access"].tolist()
    for y in range(1, len(rows)):
        if access[y] != access[y - 1]:
            ax.axhline(y - 0.5, color="0.8", lw=0.8)
    if highlight in rows:
        y = rows.index(highlight)
        ax.axhspan(y - 0.5, y + 0.5, color="0.94", zorder=0)
    ax.set_yticks(range(len(rows)), rows)
    ax.set_ylim(len(rows) - 0.5, -0.5)
    ax.grid(False, axis="y")
    ax.tick_params(axis="y", length=0)


def _colour(access: str) -> str:
    return ACCESS_COLOURS.get(access, ACCESS_COLOURS["nothing"])


def forest_legend(figure: Figure, table: pd.DataFrame, order: Sequence[str]) -> None:
    """Below a figure: the colours of the accesses in the table, and the dots of the series.

    The axes leave room for it if the figure has a constrained layout.
    """
    known = [access for access in ACCESS_COLOURS if access in set(table["access"])]
    handles = [_dot(ACCESS_COLOURS[access], True, f"sees {access}") for access in known]
    handles += [_dot("0.4", place == 0, name) for place, name in enumerate(order)]
    figure.legend(handles=handles, loc="outside lower center", ncols=4)


def _dot(colour: str, filled: bool, label: str) -> Line2D:
    dot = Line2D([], [], marker="o", linestyle="", color=colour, markersize=5, label=label)
    dot.set_markerfacecolor(colour if filled else "white")
    return dot
