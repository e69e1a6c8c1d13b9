"""Run chapters in the order of their needs, and replace their outputs only when all went well.

A chapter is executed by papermill in memory; its outputs are then grafted onto the source, which
is replaced in one step. What is current is skipped (:mod:`tools.book.stamps`). A chapter of which
only timings and last digits changed stays as it is, so that a checkout where all is as published
stays clean, on any processor. An interrupt, a failing cell or a dead kernel leaves every file
whole, and holds up no other chapter: each reads the release, none what another one made. What
failed is recorded, and its page says so (:mod:`tools.book.page`).
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter
from typing import Any

import nbformat
from joblib import Parallel, delayed

from epsvae.errors import ChapterError
from tools.book.chapters import Chapter, ordered, read_chapters
from tools.book.execution import execute, graft
from tools.book.parameters import checked_parameters, declared_parameters
from tools.book.stamps import Stamps, chapter_stamp, record_failures, source_stamp, write_text

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
    root: Path,
    names: Sequence[str] = (),
    *,
    force: bool = False,
    timeout: float = 900.0,
    n_jobs: int = 1,
) -> Report:
    """Run the named chapters (all, without names) and what they need, and update their sources.

    A failing chapter holds up no other.

    Args:
        root: folder of ``_toc.yml``.
        names: chapter names, as in ``world/operations``.
        force: run the named chapters even if they are current.
        timeout: seconds that one cell may take.
        n_jobs: chapters side by side, a process and a kernel each.

    Raises:
        ChapterError: a name is unknown, or the chapters contradict each other.
    """
    chapters = ordered(read_chapters(root))
    wanted = _with_needs(chapters, names)
    stamps, shared, report = Stamps(root), source_stamp(root), Report()
    made: dict[str, str] = {}
    waiting: list[Chapter] = []
    for chapter in (chapter for chapter in chapters if chapter.name in wanted):
        stamp = chapter_stamp(chapter, shared, (made[need] for need in chapter.needs))
        made[chapter.name] = stamp
        if stamps.is_current(chapter, stamp) and not (force and chapter.name in (names or wanted)):
            report.current.append(chapter.name)
            logger.info("%s: current", chapter.name)
        else:
            waiting.append(chapter)
    jobs = (delayed(_run)(chapter, timeout) for chapter in waiting)
    outcomes = Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    for number, (chapter, outcome) in enumerate(zip(waiting, outcomes, strict=True), start=1):
        label = f"[{number:{len(str(len(waiting)))}}/{len(waiting)}] {chapter.name}"
        if isinstance(outcome, str):
            report.failed[chapter.name] = outcome
            logger.error("%s: failed\n%s", label, outcome)
        else:
            executed, seconds = outcome
            _store(chapter, graft(chapter.notebook, executed, fresh=force), stamps, made)
            report.ran.append(chapter.name)
            logger.info("%s: %.1f s", label, seconds)
    record_failures(root, report.failed, [*report.ran, *report.current])
    return report


def _run(chapter: Chapter, timeout: float) -> tuple[nbformat.NotebookNode, float] | str:
    """The executed notebook and the seconds that it took, or why it failed."""
    start = perf_counter()
    try:
        declared_parameters(chapter)  # refuses a parameters cell that the runner could not replace
        return execute(chapter, {}, timeout), perf_counter() - start
    except ChapterError as error:
        return str(error)


def _store(
    chapter: Chapter, source: nbformat.NotebookNode, stamps: Stamps, made: Mapping[str, str]
) -> None:
    """Replace a chapter's file unless it says the same already, and remember its stamp."""
    if source != chapter.notebook:
        write_text(chapter.path, nbformat.writes(source) + "\n")
    stamps.record(replace(chapter, notebook=source), made[chapter.name])


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
    write_text(target, nbformat.writes(executed) + "\n")
    return target
