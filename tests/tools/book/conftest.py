"""A tiny book in a temporary folder, made of real notebooks."""

from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook


@pytest.fixture
def write_chapter() -> Callable[..., Path]:
    """Return a function that writes one chapter with code cells, and returns its path.

    ``parameters`` becomes the chapter's parameters cell, ``needs`` its metadata, and ``tags`` go to
    all other code cells.
    """

    def write(
        root: Path,
        name: str,
        cells: Sequence[str],
        *,
        needs: Sequence[str] = (),
        parameters: str = "",
        tags: Sequence[str] = (),
    ) -> Path:
        notebook = new_notebook(metadata={"epsvae": {"needs": list(needs)}})
        notebook.cells.append(new_markdown_cell(f"# {name}"))
        if parameters:
            notebook.cells.append(new_code_cell(parameters, metadata={"tags": ["parameters"]}))
        metadata = {"tags": list(tags)} if tags else {}
        notebook.cells.extend(new_code_cell(source, metadata=metadata) for source in cells)
        path = root / "book" / f"{name}.ipynb"
        path.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(notebook, path)
        return path

    return write


@pytest.fixture
def make_toc(tmp_path: Path) -> Callable[[Sequence[str]], Path]:
    """Return a function that writes ``_toc.yml`` for chapters, and returns the book's root."""

    def write(names: Sequence[str]) -> Path:
        files = "".join(f"  - file: book/{name}\n" for name in names)
        text = f"format: jb-book\nroot: book/index\nchapters:\n{files}"
        (tmp_path / "_toc.yml").write_text(text, encoding="utf8")
        (tmp_path / "book").mkdir(exist_ok=True)
        (tmp_path / "book" / "index.md").write_text("# Front\n", encoding="utf8")
        return tmp_path

    return write
