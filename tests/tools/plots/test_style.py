"""The look of the figures: distinct colours, one meaning each, one style for all."""

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np

from tools.plots import (
    METRIC_COLOURS,
    REGIME_COLOURS,
    metric_label,
    use_style,
    valuation_colours,
    valuation_norm,
)


def test_each_colour_has_one_meaning() -> None:
    colours = [*METRIC_COLOURS.values(), *REGIME_COLOURS.values()]
    assert len({mpl.colors.to_hex(colour) for colour in colours}) == len(colours)


def test_valuations_have_ten_colours_from_dark_to_bright() -> None:
    colours = valuation_colours()(valuation_norm()(np.arange(10)))[:, :3]
    brightness = colours @ [0.2126, 0.7152, 0.0722]
    assert np.all(np.diff(brightness) > 0)
    assert brightness[-1] < 0.8  # still seen on white


def test_style_gives_white_cards() -> None:
    with plt.rc_context():
        use_style()
        assert mpl.rcParams["figure.facecolor"] == "white"
        assert mpl.rcParams["figure.dpi"] == 150


def test_metric_label() -> None:
    assert metric_label("radial_hierarchy") == "radial hierarchy"
    assert metric_label("embedding_r2") == "embedding r2"
