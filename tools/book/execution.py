"""Execute one chapter by papermill, in memory, and put its outputs back into its source."""

import copy
import hashlib
import sys
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError, strip_color

from epsvae.errors import ChapterError
from tools.book.chapters import BOOK, UNCOMPARED, Chapter
from tools.book.compare import settled, tolerance_of
from tools.book.kernels import kernel_environment
from tools.book.parameters import TAG

__all__ = ["execute", "graft"]

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
TRACEBACK_LINES = 12
STARTS = 3
"""Times that a kernel is started before a chapter counts as failed."""
QUIET = ["--log-level=CRITICAL"]  # of the kernel program itself; errors in cells come as outputs


def execute(chapter: Chapter, parameters: dict[str, Any], timeout: float) -> nbformat.NotebookNode:
    """Execute a copy of the chapter in its own folder; errors name chapter, cell and cause."""
    for left in reversed(range(STARTS)):
        try:
            return _execute(chapter, parameters, timeout)
        except (CellTimeoutError, DeadKernelError) as error:
            raise ChapterError(f"{chapter.name}: {type(error).__name__}: {error}") from error
        except RuntimeError as error:
            # Two kernels that start at once may draw the same free port; one of them then dies.
            if not left:
                raise ChapterError(f"{chapter.name}: no kernel started: {error}") from error
    raise AssertionError("unreachable")


def _execute(chapter: Chapter, parameters: dict[str, Any], timeout: float) -> nbformat.NotebookNode:
    try:
        with kernel_environment():
            return papermill.execute_notebook(
                copy.deepcopy(chapter.notebook),
                None,
                parameters=parameters,
                kernel_name=KERNELSPEC["name"],
                language=KERNELSPEC["language"],
                progress_bar=sys.stderr.isatty(),
                cwd=chapter.path.parent,
                execution_timeout=timeout,
                extra_arguments=QUIET,
            )
    except PapermillExecutionError as error:
        tail = "\n".join("\n".join(error.traceback).splitlines()[-TRACEBACK_LINES:])
        where = f"cell {_cell_number(chapter, error.source)} (In [{error.exec_count}])"
        raise ChapterError(
            f"{chapter.name}: {where} of {BOOK}/{chapter.name}.ipynb raised {error.ename}: "
            f"{error.evalue}\n{strip_color(tail)}"
        ) from error


def _cell_number(chapter: Chapter, source: str) -> int | str:
    """Return the 1-based position of the cell with this source, as an editor counts it."""
    positions = (n for n, cell in enumerate(chapter.notebook.cells, 1) if cell.source == source)
    return next(positions, TAG)


def graft(
    source: nbformat.NotebookNode, executed: nbformat.NotebookNode, *, fresh: bool = False
) -> nbformat.NotebookNode:
    """Return the source with the outputs of its execution and without traces of the tools.

    Unless all is to be `fresh`, what is the same as before (`compare.settled`) stays as it was
    stored; so does what a cell shows of the machine's clock, while its code is what made it.
    """
    result = copy.deepcopy(source)
    for cell, done in zip(result.cells, executed.cells, strict=True):
        for noise in ("papermill", "execution", "ExecuteTime"):
            cell.metadata.pop(noise, None)
        if cell.cell_type == "code":
            _graft_cell(cell, done, fresh)
    result.metadata.pop("papermill", None)
    result.metadata["kernelspec"] = KERNELSPEC
    result.metadata["language_info"] = {"name": "python"}
    return result


def _graft_cell(cell: nbformat.NotebookNode, done: nbformat.NotebookNode, fresh: bool) -> None:
    cell.execution_count = done.execution_count
    outputs, stored, tolerance = _joined(done.outputs), cell.outputs, tolerance_of(cell.source)
    clock = UNCOMPARED in cell.metadata.get("tags", [])
    drawn = any("image/png" in output.get("data", {}) for output in outputs)
    if clock or tolerance or drawn:  # what the next run takes as stored must be of this very code
        facts = dict(cell.metadata.get("epsvae", {}))
        made_by = hashlib.sha256(cell.source.encode()).hexdigest()[:12]
        fresh = fresh or facts.get("made_by") != made_by
        cell.metadata["epsvae"] = facts | {"made_by": made_by}
    if fresh:
        cell.outputs = outputs
    elif not clock:
        cell.outputs = settled(outputs, stored, tolerance)


def _joined(outputs: list[nbformat.NotebookNode]) -> list[nbformat.NotebookNode]:
    """Return the outputs with the pieces of one text stream put together."""
    result: list[nbformat.NotebookNode] = []
    for output in outputs:
        last = result[-1] if result else None
        same = last is not None and last.output_type == output.output_type == "stream"
        if last is not None and same and last.name == output.name:
            last.text += output.text
        else:
            result.append(copy.deepcopy(output))
    return result
