"""The rooms: the package stands by itself, and imports point downwards."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("ternary", "library", "map", "uses")
"""Rooms of the package; each imports only from those before it."""


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


@pytest.mark.parametrize("floor", FLOORS)
def test_imports_point_downwards(floor: str) -> None:
    above = FLOORS[FLOORS.index(floor) + 1 :]
    for path in (ROOT / "epsvae" / floor).rglob("*.py"):
        for name in imported(path):
            assert not name.startswith(tuple(f"epsvae.{room}" for room in above)), f"{path}: {name}"


def test_the_book_is_run_without_research() -> None:
    for path in (ROOT / "tools").rglob("*.py"):
        for name in imported(path):
            assert name.partition(".")[0] != "research", f"{path}: {name}"
