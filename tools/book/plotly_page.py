"""Interactive figures whose script is shared by the whole site and whose data are small.

A chapter stores a figure as data (the mime type that Jupyter draws itself). In the book,
:class:`PlotRenderer` turns the data into an element that ``plot.js`` draws.
"""

import base64
import html
import json
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import plotly.graph_objects as go
from docutils import nodes
from IPython.display import display

__all__ = ["MARK", "PlotRenderer", "show_interactive"]

MARK = "epsvae-plot"
"""The class of the element that holds a plot; the page hook and ``plot.js`` look for it."""

MIME = "application/vnd.plotly.v1+json"
DIGITS = 5


def show_interactive(figure: go.Figure, *, alt: str) -> None:
    """Show a plotly figure, in Jupyter and in the book.

    Numbers are rounded to five digits, so that a page stays small and the stored output repeats.

    Args:
        figure: the figure.
        alt: what the figure shows, for readers who cannot see it drawn.
    """
    data = _rounded(json.loads(figure.to_json(engine="json")), DIGITS)
    display({MIME: data, "text/plain": alt}, raw=True)


def _rounded(value: Any, digits: int) -> Any:
    """Return a JSON value with all floats rounded to significant digits, and arrays as lists."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, list):
        return [_rounded(item, digits) for item in value]
    if isinstance(value, dict) and "bdata" in value:  # plotly's way to pack an array
        array = np.frombuffer(base64.b64decode(value["bdata"]), dtype=value["dtype"])
        shape = [int(size) for size in str(value.get("shape", array.size)).split(",")]
        return _rounded(array.reshape(shape).tolist(), digits)
    if isinstance(value, dict):
        return {key: _rounded(item, digits) for key, item in value.items()}
    return value


class PlotRenderer:
    """A renderer that myst-nb finds through the entry point in ``pyproject.toml``."""

    mime_priority_overrides: ClassVar[Sequence[tuple[str, str, int | None]]] = [("html", MIME, 1)]

    @staticmethod
    def handle_mime(renderer: Any, data: Any, inline: bool) -> list[nodes.Element] | None:
        """Return the element of a plot, or ``None`` for any other type of output."""
        if inline or data.mime_type != MIME:
            return None
        figure = html.escape(json.dumps(data.content, separators=(",", ":")))
        body = f'<div class="{MARK}" data-figure="{figure}"></div>'
        return [nodes.raw(text=body, format="html", classes=["output"])]
