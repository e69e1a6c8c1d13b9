"""A Sphinx extension: numbered tables from code cells, a script for pages that plot, and a mark on
chapters that failed."""

from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms import SphinxTransform

from tools.book.chapters import BOOK
from tools.book.plotly_page import MARK
from tools.book.stamps import read_failures

__all__ = ["TableFigure", "setup"]

TABLE_PREFIX = "tab-"


class TableFigure(nodes.figure):
    """The output of a code cell that Sphinx counts and cites as a table."""


class NumberTables(SphinxTransform):
    """Make tables out of the captioned outputs whose label starts with ``tab-``."""

    default_priority = 500  # after the page is parsed, before its figures are counted

    def apply(self, **kwargs: Any) -> None:
        """Replace the figure nodes of one page; called by Sphinx."""
        for figure in list(self.document.findall(nodes.figure)):
            if any(name.startswith(TABLE_PREFIX) for name in figure["names"]):
                table = TableFigure("", *figure.children, **figure.attributes)
                table.source, table.line = figure.source, figure.line
                figure.replace_self(table)
                # References look nodes up by id; the id must lead to what is counted.
                self.document.ids.update(dict.fromkeys(table["ids"], table))


def add_plotly(
    app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: nodes.document
) -> None:
    """Let a page load the shared plotly script if, and only if, it holds a plot."""
    if doctree is not None and MARK in context.get("body", ""):
        app.add_js_file("vendor/plotly.min.js", loading_method="defer")
        app.add_js_file("plot.js", loading_method="defer")


def mark_failure(app: Sphinx, doctree: nodes.document) -> None:
    """Say at the top of a chapter's page that its last run failed, and why; called by Sphinx."""
    name = Path(app.env.docname).relative_to(BOOK).as_posix()
    reason = read_failures(Path(app.srcdir)).get(name)
    if reason is not None:
        words = nodes.paragraph(
            text="This chapter failed when this book was made. What it shows is stored from an "
            "earlier run, and may not hold here."
        )
        lines = [nodes.line(text=line) for line in reason.splitlines()]
        mark = nodes.error("", words, nodes.line_block("", *lines))
        title = doctree.next_node(nodes.title)
        title.parent.insert(title.parent.index(title) + 1, mark)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register all of it; called by Sphinx, which finds the name in ``_config.yml``."""
    app.add_enumerable_node(TableFigure, "table")
    app.add_transform(NumberTables)
    app.connect("html-page-context", add_plotly)
    app.connect("doctree-read", mark_failure)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
