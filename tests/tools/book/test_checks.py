"""The writing rules: the book keeps them, and a chapter that breaks one is told so."""

import copy
from collections.abc import Callable
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from tools.book.chapters import Chapter, find_root, read_chapters, toc_files
from tools.book.checks import CHECKS, check_book, check_toc

ROOT = Path(__file__).resolve().parents[3]
START = """(chapter-good)=
# Count something

## What you will learn

- one
- two
- three

## What you need

Nothing.
"""
ANSWER = "```{admonition} Answer\n:class: dropdown\n\nYes.\n```\n"
END = f"""## What we found

This.

## Limits

None.

## Exercises

{ANSWER}
{ANSWER}
## Where to go next

Home.
"""


def good() -> nbformat.NotebookNode:
    """Return a chapter that keeps every rule."""
    figure = {"figure": {"name": "fig-x", "caption": "X."}, "image": {"alt": "A line."}}
    drawn = new_output("display_data", {"image/png": "aGk=", "text/plain": "<Figure>"})
    return new_notebook(
        cells=[
            new_markdown_cell(START),
            new_code_cell("n = 1", execution_count=1, metadata={"tags": ["parameters"]}),
            new_code_cell(
                "draw()", execution_count=2, outputs=[drawn], metadata={"mystnb": figure}
            ),
            new_markdown_cell(END),
        ]
    )


def problems(notebook: nbformat.NotebookNode) -> list[str]:
    chapter = Chapter("good", Path("good.ipynb"), (), notebook)
    return [problem for check in CHECKS for problem in check(chapter)]


def replace(cell: int, old: str, new: str) -> Callable[[nbformat.NotebookNode], None]:
    def change(notebook: nbformat.NotebookNode) -> None:
        assert old in notebook.cells[cell].source
        notebook.cells[cell].source = notebook.cells[cell].source.replace(old, new)

    return change


def output(text: str, name: str = "stdout") -> Callable[[nbformat.NotebookNode], None]:
    def change(notebook: nbformat.NotebookNode) -> None:
        notebook.cells[1].outputs = [new_output("stream", name=name, text=text)]

    return change


def metadata(cell: int, **values: object) -> Callable[[nbformat.NotebookNode], None]:
    def change(notebook: nbformat.NotebookNode) -> None:
        notebook.cells[cell].metadata = values

    return change


def unexecuted(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[1].execution_count = None


def failed(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[1].outputs = [new_output("error", ename="KeyError", evalue="x")]


def crowded(notebook: nbformat.NotebookNode) -> None:
    notebook.cells += [new_markdown_cell("more")] * 40


def test_good_chapter_keeps_every_rule() -> None:
    assert problems(good()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (replace(0, "(chapter-good)=\n", ""), "expected to start with a label"),
        (replace(0, "- three\n", ""), "expected 3 bullets under 'What you will learn', found 2"),
        (replace(3, "## Limits", "## Ends"), "expected a section ## Limits or ## Where it fails"),
        (replace(3, ANSWER, ""), "expected two exercises with folded answers, found 0"),
        (replace(3, "## What we found", "## What you need"), "expected a section ## What we found"),
        (replace(1, "n = 1", "n = 1\n" * 31), "cell 2: expected at most 30 lines of code"),
        (replace(1, "n = 1", "n = 2 ** 4"), "expected only `name = literal`"),
        (replace(2, "draw()", "draw();"), "cell 3: expected plt.show() at the end"),
        (crowded, "expected at most 40 cells, found 44"),
        (unexecuted, "cell 2: expected run number 1, found None"),
        (failed, "cell 2: stores an error, KeyError: x"),
        (metadata(1), "expected one cell tagged parameters, found 0"),
        (metadata(1, tags=["parameters", "nbval-ignore-output"]), "expects a reason"),
        (metadata(2), "cell 3: expected mystnb.figure with a caption and a name fig-…"),
        (metadata(2), "cell 3: expected mystnb.image.alt"),
        (output("saved /home/me/x.pt"), "path of one machine, /home/me/x.pt"),
        (output("<script src='https://x.org/a.js'>"), "loads from elsewhere"),
        (output("Warning", "stderr"), "cell 2: output holds a warning or a log on stderr"),
    ],
)
def test_broken_rule_is_named(
    change: Callable[[nbformat.NotebookNode], None], message: str
) -> None:
    notebook = copy.deepcopy(good())
    change(notebook)
    assert any(message in problem for problem in problems(notebook))


def test_page_outside_the_table_of_contents_is_named(make_toc: Callable[..., Path]) -> None:
    root = make_toc([])
    (root / "book" / "lost.md").write_text("# Lost\n", encoding="utf8")
    assert list(check_toc(root)) == ["book/lost.md: not in _toc.yml"]


def test_the_book_keeps_its_rules() -> None:
    assert find_root(Path(__file__)) == ROOT
    assert toc_files(ROOT)[0] == "book/index"
    assert read_chapters(ROOT), "expected executable chapters in _toc.yml"
    assert check_book(ROOT) == []
