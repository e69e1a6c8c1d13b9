"""What a chapter shows besides figures: sentences and tables with computed numbers."""

import hashlib
from collections.abc import Callable
from typing import Any

import pandas as pd
from IPython.display import HTML, Markdown, display

__all__ = ["claim", "glue", "table"]

GLUED = "application/papermill.record/"
"""Prefix of the formats of what is glued, by the conventions of scrapbook and myst-nb."""

FAILED = "**With these numbers this does not hold:**"


def glue(**numbers: str) -> None:
    """Give the chapter's prose its numbers: a Markdown cell quotes one as ``{glue:text}`name```.

    They are outputs of the cell, shown by no page and compared by the regression test.

    Args:
        numbers: texts as they should read, rounded: ``glue(error=f"{error:.3f}")``.
    """
    for name, text in numbers.items():
        display(
            {f"{GLUED}text/plain": repr(text)},
            metadata={"scrapbook": {"name": name, "mime_prefix": GLUED}},
            raw=True,
        )


def claim(holds: bool, sentence: str) -> None:
    """Hold a sentence of the prose to the numbers; show it where it fails.

    The regression test fails then, since a stored chapter shows none; a chapter that runs with
    other parameters goes on, and says which of its sentences are no longer true.
    """
    if not holds:
        display(Markdown(f"{FAILED} {sentence}"))


def table(
    frame: pd.DataFrame,
    *,
    decimals: int = 3,
    formats: dict[Any, str | Callable[[object], str] | None] | None = None,
    index: bool = True,
    highlight: tuple[int, ...] = (),
) -> None:
    """Show a table that is the same, character by character, each time it is computed.

    Args:
        frame: what to show; its caption belongs to the cell's metadata, as a figure's does.
        decimals: digits after the point of all floats without a format of their own.
        formats: a format string or function per column, as in ``{"parameters": "{:,}"}``.
        index: show the row labels.
        highlight: positions of the rows in bold.
    """
    labels = repr((list(frame.columns), list(frame.index), highlight))
    styler = frame.style.set_uuid(hashlib.sha256(labels.encode()).hexdigest()[:8])
    styler = styler.set_table_attributes('class="dataframe epsvae-table"')
    styler = styler.format(formats or {}, precision=decimals, na_rep="–")
    if not index:
        styler = styler.hide(axis="index")
    bold = {frame.index[row] for row in highlight}
    styler = styler.apply(
        lambda row: ["font-weight: bold" if row.name in bold else ""] * len(row), axis=1
    )
    display(HTML(styler.to_html()))
