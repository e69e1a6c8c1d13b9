"""The writing rules of the book that a program can check.

Each check takes one chapter and yields sentences that name the chapter, the cell and the rule;
no sentence means that the chapter keeps it. The rules themselves are told in
``book/back/contributing.md``.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path

from IPython.core.inputtransformer2 import TransformerManager

from epsvae.errors import ChapterError
from tools.book.chapters import UNCOMPARED, Chapter, read_chapters, toc_files
from tools.book.display import FAILED
from tools.book.parameters import TAG, declared_parameters

__all__ = ["CHECKS", "check_book"]

MAX_CELLS = 40
MAX_LINES = 30
HIDDEN = {"hide-input", "remove-input", "remove-cell"}
LEARNED = 3
SECTIONS = (
    ("What you will learn",),
    ("What you need",),
    ("What we found",),
    ("Limits", "Where it fails"),
    ("Exercises",),
    ("Where to go next",),
)
MACHINE_PATH = re.compile(r"(?<![\w.:/])/(?:home|Users|root|tmp|work|opt|usr|var|mnt)/[\w.\-/]+")
OUTSIDE = re.compile(r"""(?:src|href)\s*=\s*\\?["'](?:https?:)?//|\bcdn\.|unpkg\.com|cdnjs\.""")
DISPLAY_FIGURE = {"image/png", "image/svg+xml", "image/jpeg"}


def check_book(root: Path) -> list[str]:
    """Return every broken rule of every chapter; empty when the book keeps them all.

    Raises:
        ChapterError: a page of the table of contents is missing or cannot be read.
    """
    problems = list(check_toc(root))
    for chapter in read_chapters(root).values():
        for check in CHECKS:
            problems.extend(f"{chapter.name}: {problem}" for problem in check(chapter))
    return problems


def check_toc(root: Path) -> Iterator[str]:
    """Every page below ``book/`` is in the table of contents; others are dropped silently."""
    named = set(toc_files(root))
    for path in sorted((root / "book").rglob("*")):
        relative = path.relative_to(root)
        hidden = any(part.startswith((".", "_")) for part in relative.parts)
        if path.suffix in {".ipynb", ".md"} and not hidden:
            file = relative.with_suffix("").as_posix()
            if file not in named:
                yield f"{relative}: not in _toc.yml"


def check_skeleton(chapter: Chapter) -> Iterator[str]:
    """The chapter has a label, a title, and the sections in their order."""
    text = "\n\n".join(c.source for c in chapter.notebook.cells if c.cell_type == "markdown")
    if not re.match(r"\s*\([\w-]+\)=\s*\n# \S", text):
        yield "expected to start with a label, as in (chapter-operations)=, and a # title"
    headings = re.findall(r"^## +(.+?)\s*$", text, flags=re.MULTILINE)
    position = -1
    for names in SECTIONS:
        found = [headings.index(name) for name in names if name in headings]
        if not found:
            yield f"expected a section ## {' or ## '.join(names)}"
        elif found[0] < position:
            yield f"section {headings[found[0]]!r} comes too early"
        else:
            position = found[0]
    learned = _section(text, "What you will learn")
    if (bullets := len(re.findall(r"^[-*] ", learned, flags=re.MULTILINE))) != LEARNED:
        yield f"expected {LEARNED} bullets under 'What you will learn', found {bullets}"
    answers = _section(text, "Exercises").count("dropdown")
    if answers < 2:
        yield f"expected two exercises with folded answers, found {answers} {{dropdown}}"


def _section(text: str, title: str) -> str:
    """Return the text from a heading to the next one of its rank, or an empty text."""
    match = re.search(rf"^## +{title}\s*$(.*?)(?=^## |\Z)", text, flags=re.MULTILINE | re.DOTALL)
    return match.group(1) if match else ""


def check_length(chapter: Chapter) -> Iterator[str]:
    """The chapter and its code cells are short, and show what they show without a semicolon."""
    if (cells := len(chapter.notebook.cells)) > MAX_CELLS:
        yield f"expected at most {MAX_CELLS} cells, found {cells}"
    for number, cell in enumerate(chapter.notebook.cells, 1):
        if cell.cell_type == "code" and (lines := len(cell.source.splitlines())) > MAX_LINES:
            yield f"cell {number}: expected at most {MAX_LINES} lines of code, found {lines}"
        if cell.cell_type == "code" and cell.source.rstrip().endswith(";"):
            yield f"cell {number}: expected plt.show() at the end; nbval does not know a final ;"


def check_shown_work(chapter: Chapter) -> Iterator[str]:
    """At least half of the lines of code are visible without a click."""
    every = shown = 0
    for cell in chapter.notebook.cells:
        if cell.cell_type == "code":
            lines = sum(bool(line.strip()) for line in cell.source.splitlines())
            every += lines
            shown += lines * HIDDEN.isdisjoint(cell.metadata.get("tags", []))
    if shown < every / 2:
        yield f"expected half of the lines of code to be visible, found {shown} of {every}"


def check_execution(chapter: Chapter) -> Iterator[str]:
    """Every code cell was run, in order, without an error; nbval compares nothing otherwise."""
    expected = 0
    for number, cell in enumerate(chapter.notebook.cells, 1):
        if cell.cell_type != "code" or not cell.source.strip():
            continue
        expected += 1
        if cell.execution_count != expected:
            yield f"cell {number}: expected run number {expected}, found {cell.execution_count}"
        for output in cell.outputs:
            if output.output_type == "error":
                yield f"cell {number}: stores an error, {output.ename}: {output.evalue}"


def check_parameters(chapter: Chapter) -> Iterator[str]:
    """There is one parameters cell, and it holds nothing but literals."""
    count = sum(TAG in cell.metadata.get("tags", []) for cell in chapter.notebook.cells)
    if count != 1:
        yield f"expected one cell tagged {TAG}, found {count}"
    try:
        declared_parameters(chapter)
    except ChapterError as error:
        yield str(error).removeprefix(f"{chapter.name}: ")


def check_tags(chapter: Chapter) -> Iterator[str]:
    """A cell whose output is not compared says why."""
    for number, cell in enumerate(chapter.notebook.cells, 1):
        if UNCOMPARED in cell.metadata.get("tags", []) and not cell.metadata.get("epsvae", {}).get(
            "reason"
        ):
            yield f"cell {number}: {UNCOMPARED} expects a reason in its metadata (epsvae.reason)"


def check_assertions(chapter: Chapter) -> Iterator[str]:
    """An assertion says in words what was expected and what was found."""
    for number, cell in enumerate(chapter.notebook.cells, 1):
        if cell.cell_type == "code":
            for node in ast.walk(ast.parse(TransformerManager().transform_cell(cell.source))):
                if isinstance(node, ast.Assert) and node.msg is None:
                    yield f"cell {number}: expected a message behind `{ast.unparse(node)}`"


def check_figures(chapter: Chapter) -> Iterator[str]:
    """A cell that shows a figure gives it a caption, a ``fig-`` label and a text for the blind."""
    for number, cell in enumerate(chapter.notebook.cells, 1):
        shown = {mime for output in cell.get("outputs", []) for mime in output.get("data", {})}
        if not shown & DISPLAY_FIGURE:
            continue
        mystnb = cell.metadata.get("mystnb", {})
        figure, image = mystnb.get("figure", {}), mystnb.get("image", {})
        if not figure.get("caption") or not str(figure.get("name", "")).startswith("fig-"):
            yield f"cell {number}: expected mystnb.figure with a caption and a name fig-…"
        if not image.get("alt"):
            yield f"cell {number}: expected mystnb.image.alt to say what the figure shows"


def check_outputs(chapter: Chapter) -> Iterator[str]:
    """Outputs name no folder of the machine that made them, and load nothing from elsewhere."""
    for number, cell in enumerate(chapter.notebook.cells, 1):
        for output in cell.get("outputs", []):
            shown = {k: v for k, v in output.get("data", {}).items() if k not in DISPLAY_FIGURE}
            text = json.dumps([output.get("text", ""), shown], ensure_ascii=False)
            if path := MACHINE_PATH.search(text):
                yield f"cell {number}: output holds a path of one machine, {path.group()}"
            if link := OUTSIDE.search(text):
                yield f"cell {number}: output loads from elsewhere, {link.group()}"
            if output.get("name") == "stderr":
                yield f"cell {number}: output holds a warning or a log on stderr"


def check_claims(chapter: Chapter) -> Iterator[str]:
    """Every sentence that was claimed held when the chapter ran."""
    for number, cell in enumerate(chapter.notebook.cells, 1):
        for output in cell.get("outputs", []):
            if (text := output.get("data", {}).get("text/markdown", "")).startswith(FAILED):
                yield f"cell {number}: {text}"


CHECKS = (
    check_skeleton,
    check_length,
    check_shown_work,
    check_execution,
    check_parameters,
    check_tags,
    check_assertions,
    check_claims,
    check_figures,
    check_outputs,
)
"""Every check of a single chapter."""
