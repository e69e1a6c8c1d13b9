"""What chapters show: sentences, tables, interactive figures; the scripts that pages load."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from epsvae.errors import EpsvaeError
from tools.book.assets import ASSETS, copy_assets
from tools.book.display import FAILED, claim, table
from tools.book.plotly_page import MARK, MIME, PlotRenderer, show_interactive

Shown = Callable[[Callable[[], None]], Any]


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """Return a function that returns the one thing that a call displays."""
    seen: list[Any] = []
    for module in ("display", "plotly_page"):
        monkeypatch.setattr(f"tools.book.{module}.display", lambda thing, **_: seen.append(thing))

    def run(show: Callable[[], None]) -> Any:
        seen.clear()
        show()
        (thing,) = seen
        return thing

    return run


def test_a_claim_that_fails_is_shown(shown: Shown) -> None:
    assert shown(lambda: claim(1 > 2, "one is more")).data == f"{FAILED} one is more"


def test_table_repeats_whatever_the_last_digits_are(shown: Shown) -> None:
    first = pd.DataFrame({"r2": [0.98765, np.nan], "n": [1000, 2]}, index=["a", "b"])
    second = first + 1e-9
    second["n"] = first["n"]

    def draw(frame: pd.DataFrame) -> object:
        return shown(lambda: table(frame, formats={"n": "{:,}"}, highlight=(0,))).data

    text = str(draw(first))
    assert text == draw(second)
    assert all(part in text for part in ("0.988", "–", "1,000", "font-weight: bold"))


def test_interactive_figure_is_rounded_data(shown: Shown) -> None:
    figure = go.Figure(go.Scatter(x=np.array([1 / 3, 2.0]), y=[1.23456789, 2.0]))
    data = shown(lambda: show_interactive(figure, alt="two points"))
    assert data["text/plain"] == "two points"
    trace = data[MIME]["data"][0]
    assert trace["x"] == [0.33333, 2.0]
    assert trace["y"] == [1.2346, 2.0]


def test_renderer_takes_only_plots() -> None:
    class Data:
        mime_type = MIME
        content = {"data": [{"name": 'a"b'}]}

    (node,) = PlotRenderer.handle_mime(None, Data(), False) or ()
    assert MARK in node.astext()
    assert "a\\&quot;b" in node.astext()
    Data.mime_type = "text/html"
    assert PlotRenderer.handle_mime(None, Data(), False) is None


def test_assets_are_copied_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="tools"):
        paths = copy_assets(tmp_path)
        assert len(caplog.records) == len(ASSETS)
        assert copy_assets(tmp_path) == paths
        assert len(caplog.records) == len(ASSETS)
    assert all(path.stat().st_size > 1_000_000 for path in paths)


def test_asset_of_a_missing_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(ASSETS, "tex-svg.js", ("no_such_package", "x.js", "no-such-wheel"))
    with pytest.raises(EpsvaeError, match=r"tex-svg\.js: expected the package no-such-wheel"):
        copy_assets(tmp_path)
