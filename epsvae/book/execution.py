"""Execute one chapter by papermill, in memory, and put its outputs back into its source."""

import copy
import sys
from typing import Any

import nbformat
import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError, strip_color

from epsvae.book.chapters import UNCOMPARED, Chapter
from epsvae.book.kernels import kernel_environment
from epsvae.book.parameters import TAG
from epsvae.errors import ChapterError

__all__ = ["execute", "graft", "says_the_same"]

KERNELSPEC = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
TRACEBACK_LINES = 12
QUIET = ["--log-level=CRITICAL"]  # of the kernel program itself; errors in cells come as outputs


def execute(chapter: Chapter, parameters: dict[str, Any], timeout: float) -> nbformat.NotebookNode:
    """Execute a copy of the chapter in its own folder; errors name chapter, cell and cause."""
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
        raise ChapterError(
            f"{chapter.name}: cell {_cell_number(chapter, error.source)} (In [{error.exec_count}]) "
            f"raised {error.ename}: {error.evalue}\n{strip_color(tail)}"
        ) from error
    except (CellTimeoutError, DeadKernelError) as error:
        raise ChapterError(f"{chapter.name}: {type(error).__name__}: {error}") from error


def _cell_number(chapter: Chapter, source: str) -> int | str:
    """Return the 1-based position of the cell with this source, as an editor counts it."""
    positions = (n for n, cell in enumerate(chapter.notebook.cells, 1) if cell.source == source)
    return next(positions, TAG)


def graft(source: nbformat.NotebookNode, executed: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Return the source with the outputs of its execution and without traces of the tools."""
    result = copy.deepcopy(source)
    for cell, done in zip(result.cells, executed.cells, strict=True):
        for noise in ("papermill", "execution", "ExecuteTime"):
            cell.metadata.pop(noise, None)
        if cell.cell_type == "code":
            cell.execution_count = done.execution_count
            cell.outputs = _joined(done.outputs)
    result.metadata.pop("papermill", None)
    result.metadata["kernelspec"] = KERNELSPEC
    result.metadata["language_info"] = {"name": "python"}
    return result


def says_the_same(a: nbformat.NotebookNode, b: nbformat.NotebookNode) -> bool:
    """Whether two notebooks are equal but for the outputs of cells tagged `UNCOMPARED`."""
    return _compared(a) == _compared(b)


def _compared(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    result = copy.deepcopy(notebook)
    for cell in result.cells:
        if UNCOMPARED in cell.metadata.get("tags", []) and cell.get("outputs"):
            cell.outputs = [UNCOMPARED]
    return result


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
