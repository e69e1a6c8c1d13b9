"""One look for every figure: the style sheet and the fixed meaning of each colour."""

from importlib.resources import as_file, files

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.colors import BoundaryNorm, Colormap, ListedColormap

__all__ = [
    "METRIC_COLOURS",
    "METRIC_LABELS",
    "REGIME_COLOURS",
    "metric_label",
    "use_style",
    "valuation_colours",
    "valuation_norm",
]

METRIC_COLOURS = {
    "coverage": "#0072B2",
    "distance_correlation": "#D55E00",
    "radial_hierarchy": "#009E73",
}
"""Okabe and Ito's blue, vermilion and green: one colour per metric, in every figure."""

METRIC_LABELS = {
    "coverage": "coverage",
    "distance_correlation": "distance correlation",
    "radial_hierarchy": "radial hierarchy",
}

REGIME_COLOURS = {
    "frozen": "#332288",
    "progressive": "#88CCEE",
    "unfrozen": "#CC6677",
    "homeostatic": "#117733",
    "scratch": "#999933",
    "oracle": "#555555",
}
"""Paul Tol's muted scheme: one colour per training regime, in every figure."""

MAX_VALUATION = 9


def use_style() -> None:
    """Give all figures drawn after this call the look of the book."""
    with as_file(files("tools.plots") / "epsvae.mplstyle") as sheet:
        plt.style.use(sheet)


def metric_label(name: str) -> str:
    """Return the words for a metric's name: ``radial_hierarchy`` → ``radial hierarchy``."""
    return METRIC_LABELS.get(name, name.replace("_", " "))


def valuation_colours() -> Colormap:
    """Return ten colours for the valuations 0 (dark, common) to 9 (bright, rare).

    The bright end stops before the yellow that disappears on white.
    """
    steps = [0.9 * valuation / MAX_VALUATION for valuation in range(MAX_VALUATION + 1)]
    return ListedColormap(mpl.colormaps["viridis"](steps), name="valuation")


def valuation_norm() -> BoundaryNorm:
    """Return the norm that gives each valuation 0 … 9 its own colour."""
    edges = [valuation - 0.5 for valuation in range(MAX_VALUATION + 2)]
    return BoundaryNorm(edges, ncolors=MAX_VALUATION + 1)
