"""Run chapters in the order of their needs, and replace their outputs only when all went well.

A chapter is executed by papermill in memory; its outputs are then grafted onto the source, which
is replaced in one step. What is current is skipped (:mod:`epsvae.book.stamps`). A chapter of which
only timings changed stays as it is, so that a checkout where all is as published stays clean. An
interrupt, a failing cell or a dead kernel leaves every file whole.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import perf_counter
from typing import Any

import nbformat

from epsvae.book.chapters import Chapter, ordered, read_chapters
from epsvae.book.execution import execute, graft, says_the_same
from epsvae.book.parameters import checked_parameters, declared_parameters
from epsvae.book.stamps import Stamps, chapter_stamp, source_stamp, write_atomically
from epsvae.errors import ChapterError

__all__ = ["Report", "run_book", "run_variant"]

logger = logging.getLogger(__name__)

VARIANTS = Path("artifacts", "book")


@dataclass
class Report:
    """What a run did: names of chapters that ran or were current, and errors by chapter."""

    ran: list[str] = field(default_factory=list)
    current: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether every chapter is current now."""
        return not self.failed


def run_book(
    root: Path, names: Sequence[str] = (), *, force: bool = False, timeout: float = 900.0
) -> Report:
    """Run the named chapters (all, without names) and what they need, and update their sources.

    A failing chapter holds up only those that need it.

    Args:
        root: folder of ``_toc.yml``.
        names: chapter names, as in ``world/operations``.
        force: run the named chapters even if they are current.
        timeout: seconds that one cell may take.

    Raises:
        ChapterError: a name is unknown, or the chapters contradict each other.
    """
    chapters = ordered(read_chapters(root))
    wanted = _with_needs(chapters, names)
    chapters = [chapter for chapter in chapters if chapter.name in wanted]
    stamps, shared, report = Stamps(root), source_stamp(root), Report()
    made: dict[str, str] = {}
    for position, chapter in enumerate(chapters, start=1):
        label = f"[{position:{len(str(len(chapters)))}}/{len(chapters)}] {chapter.name}"
        if held := [need for need in chapter.needs if need in report.failed]:
            report.failed[chapter.name] = f"{chapter.name}: not run, needs {', '.join(held)}"
            logger.error("%s: not run, needs %s", label, ", ".join(held))
            continue
        stamp = chapter_stamp(chapter, shared, (made[need] for need in chapter.needs))
        made[chapter.name] = stamp
        if stamps.is_current(chapter, stamp) and not (force and chapter.name in (names or wanted)):
            report.current.append(chapter.name)
            logger.info("%s: current", label)
            continue
        _update(chapter, stamp, stamps, report, label, timeout, force)
    return report


def _with_needs(chapters: Sequence[Chapter], names: Sequence[str]) -> set[str]:
    """Return the names with everything that they need, directly or not; all without names."""
    by_name = {chapter.name: chapter for chapter in chapters}
    if unknown := [name for name in names if name not in by_name]:
        raise ChapterError(
            f"unknown chapter {', '.join(unknown)}; the chapters are {', '.join(by_name)}"
        )
    wanted: set[str] = set()
    waiting = list(names or by_name)
    while waiting:
        name = waiting.pop()
        if name not in wanted:
            wanted.add(name)
            waiting.extend(by_name[name].needs)
    return wanted


def _update(
    chapter: Chapter,
    stamp: str,
    stamps: Stamps,
    report: Report,
    label: str,
    timeout: float,
    force: bool,
) -> None:
    """Run one chapter, replace its source, and enter the outcome into the report."""
    logger.info("%s: running", label)
    start = perf_counter()
    try:
        declared_parameters(chapter)  # refuses a parameters cell that the runner could not replace
        executed = execute(chapter, {}, timeout)
    except ChapterError as error:
        report.failed[chapter.name] = str(error)
        logger.error("%s: failed after %.1f s\n%s", label, perf_counter() - start, error)
        return
    source = graft(chapter.notebook, executed)
    if not force and says_the_same(source, chapter.notebook):
        source = chapter.notebook
    else:
        write_atomically(chapter.path, nbformat.writes(source) + "\n")
    stamps.record(Chapter(chapter.name, chapter.path, chapter.needs, source), stamp)
    report.ran.append(chapter.name)
    logger.info("%s: %.1f s", label, perf_counter() - start)


def run_variant(
    root: Path,
    name: str,
    parameters: Mapping[str, Any],
    *,
    output: Path | None = None,
    timeout: float = 900.0,
) -> Path:
    """Run one chapter with other parameters into another file; its source stays as it is.

    Args:
        root: folder of ``_toc.yml``.
        name: the chapter's name.
        parameters: values by name; each must be declared in the parameters cell.
        output: the notebook to write; default ``artifacts/book/<name>.ipynb`` below ``root``.
        timeout: seconds that one cell may take.

    Returns:
        the path of the notebook written.

    Raises:
        ChapterError: the chapter is unknown or fails, a parameter is unknown or mistyped, or
            ``output`` is a chapter's source.
    """
    chapters = read_chapters(root)
    _with_needs(list(chapters.values()), [name])
    chapter = chapters[name]
    target = output or root / VARIANTS / f"{name}.ipynb"
    if target.resolve() in {other.path.resolve() for other in chapters.values()}:
        raise ChapterError(f"{name}: expected an output outside the book's sources, found {target}")
    values = checked_parameters(chapter, parameters)
    logger.info("%s: running with %s", name, values)
    executed = execute(chapter, values, timeout)
    for noise in [executed, *executed.cells]:
        noise.metadata.pop("papermill", None)
    write_atomically(target, nbformat.writes(executed) + "\n")
    return target
