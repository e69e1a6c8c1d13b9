"""An error against a size: seeds as dots, their mean as a line, intervals over runs as bars."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import NullFormatter, NullLocator

__all__ = ["draw_size"]


def draw_size(ax: Axes, losses: pd.DataFrame, colour: str, *, filled: bool = True) -> None:
    """One error of one library on logarithmic axes; may be called again for others.

    `losses` has a line for each setting and seed: setting, a number as text; value, low and high,
    of which the bars show the means over seeds.
    """
    sizes = losses["setting"].astype(int)
    mean = losses.groupby(sizes)[["value", "low", "high"]].mean()
    ax.vlines(mean.index, mean["low"], mean["high"], color=colour, lw=4, alpha=0.18)
    ax.plot(mean.index, mean["value"], color=colour, lw=1.2, ls="-" if filled else "--")
    face = colour if filled else "white"
    ax.plot(sizes, losses["value"], "o", ms=3.5, mfc=face, mec=colour, mew=0.9)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ticks = sorted({round(float(x)) for line in ax.lines for x in np.asarray(line.get_xdata())})
    ax.set_xticks(ticks, [str(tick) for tick in ticks])
    ax.xaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_minor_formatter(NullFormatter())
