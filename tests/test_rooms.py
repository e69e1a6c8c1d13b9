"""The rooms: the package stands by itself, and imports point downwards."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "epsvae"
SEAM = [*PACKAGE.glob("*.py"), *(PACKAGE / "map").glob("*.py"), *(PACKAGE / "uses").glob("*.py")]
"""What knows networks only through `epsvae.subject`."""


def imported(path: Path) -> Iterator[str]:
    """Return the dotted names of everything that a file imports, wherever it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_package_imports_no_workroom() -> None:
    for path in (ROOT / "epsvae").rglob("*.py"):
        for name in imported(path):
            assert name.partition(".")[0] not in ("research", "tools"), f"{path}: {name}"


@pytest.mark.parametrize("path", SEAM, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_map_uses_and_command_line_know_no_subject(path: Path) -> None:
    for name in imported(path):
        assert not name.startswith("epsvae.subjects"), f"{path}: {name}"


def test_maps_do_not_know_their_uses() -> None:
    for path in (PACKAGE / "map").glob("*.py"):
        for name in imported(path):
            assert not name.startswith("epsvae.uses"), f"{path}: {name}"


def test_the_book_is_run_without_research() -> None:
    for path in (ROOT / "tools").rglob("*.py"):
        for name in imported(path):
            assert name.partition(".")[0] != "research", f"{path}: {name}"
