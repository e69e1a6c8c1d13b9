"""Chapters as files: where they are, what they hold, in which order they run."""

from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Any

import nbformat
import yaml

from epsvae.errors import ChapterError

__all__ = ["Chapter", "find_root", "ordered", "read_chapter", "read_chapters", "toc_files"]

TOC = "_toc.yml"
BOOK = "book"
UNCOMPARED = "nbval-ignore-output"
"""Tag of cells whose outputs differ from run to run, such as timings."""


@dataclass(frozen=True)
class Chapter:
    """One executable chapter.

    ``name`` is its path below ``book/`` without a suffix, as in ``world/operations``; ``needs``
    are the names of the chapters that must run first.
    """

    name: str
    path: Path
    needs: tuple[str, ...]
    notebook: nbformat.NotebookNode

    @property
    def code_cells(self) -> list[nbformat.NotebookNode]:
        """The code cells that hold code."""
        cells = self.notebook.cells
        return [cell for cell in cells if cell.cell_type == "code" and cell.source.strip()]


def find_root(start: Path | None = None) -> Path:
    """Return the nearest folder at or above ``start`` that holds ``_toc.yml``.

    Raises:
        ChapterError: there is none.
    """
    start = (start or Path.cwd()).resolve()
    for folder in (start, *start.parents):
        if (folder / TOC).is_file():
            return folder
    raise ChapterError(f"{start}: expected a folder with {TOC} here or above, found none")


def toc_files(root: Path) -> list[str]:
    """Return every file that the table of contents names, in reading order."""
    toc = yaml.safe_load((root / TOC).read_text(encoding="utf8"))
    return list(_files(toc))


def _files(node: Any) -> Iterator[str]:
    if isinstance(node, list):
        for item in node:
            yield from _files(item)
    elif isinstance(node, dict):
        yield from (str(node[key]) for key in ("root", "file") if key in node)
        for key in ("parts", "chapters", "sections", "entries", "subtrees"):
            yield from _files(node.get(key))


def read_chapter(path: Path, name: str) -> Chapter:
    """Read one notebook.

    Raises:
        ChapterError: the file is not a notebook, or its ``needs`` is not a list of names.
    """
    try:
        notebook = nbformat.read(path, as_version=4)
    except (nbformat.ValidationError, AttributeError, TypeError, ValueError) as error:
        found = f"{type(error).__name__}: {error}"
        raise ChapterError(f"{name}: expected a notebook in {path}, found {found}") from error
    needs = notebook.metadata.get("epsvae", {}).get("needs", [])
    if not isinstance(needs, list) or not all(isinstance(need, str) for need in needs):
        raise ChapterError(
            f"{name}: expected metadata epsvae.needs to list chapter names, found {needs!r}"
        )
    return Chapter(name, path, tuple(needs), notebook)


def read_chapters(root: Path) -> dict[str, Chapter]:
    """Read the notebooks that the table of contents names, by chapter name, in reading order.

    Raises:
        ChapterError: a page is missing, or a notebook cannot be read.
    """
    chapters = {}
    for file in toc_files(root):
        stem = root / file
        notebook, page = stem.with_name(f"{stem.name}.ipynb"), stem.with_name(f"{stem.name}.md")
        if notebook.is_file():
            name = stem.relative_to(root / BOOK).as_posix()
            chapters[name] = read_chapter(notebook, name)
        elif not page.is_file():
            raise ChapterError(f"{file}: expected {notebook.name} or {page.name}, found neither")
    return chapters


def ordered(chapters: dict[str, Chapter]) -> list[Chapter]:
    """Return the chapters so that each follows what it needs; otherwise in reading order.

    Raises:
        ChapterError: a chapter needs one that does not exist, or chapters need each other.
    """
    for chapter in chapters.values():
        if missing := [need for need in chapter.needs if need not in chapters]:
            raise ChapterError(
                f"{chapter.name}: needs {', '.join(missing)}; the chapters are "
                f"{', '.join(chapters)}"
            )
    sorter = TopologicalSorter({name: chapter.needs for name, chapter in chapters.items()})
    try:
        sorter.prepare()
    except CycleError as error:
        raise ChapterError(f"chapters need each other: {' → '.join(error.args[1])}") from error
    rank = {name: position for position, name in enumerate(chapters)}
    result: list[Chapter] = []
    ready = sorted(sorter.get_ready(), key=rank.__getitem__)
    while ready:
        name = ready.pop(0)
        result.append(chapters[name])
        sorter.done(name)
        ready = sorted([*ready, *sorter.get_ready()], key=rank.__getitem__)
    return result
