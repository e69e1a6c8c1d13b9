"""The rooms: the package stands by itself, and imports point downwards."""

import ast
import textwrap
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "epsvae"
SEAM = [*PACKAGE.glob("*.py"), *(PACKAGE / "map").glob("*.py"), *(PACKAGE / "uses").glob("*.py")]
"""What knows networks only through `epsvae.subject`."""


@cache
def imported(path: Path) -> list[str]:
    """Return the dotted names of everything that a file imports, wherever it does."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf8"))):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return names


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


ROOMS = (
    "epsvae",
    "epsvae/map",
    "epsvae/uses",
    "epsvae/subjects",
    "epsvae/subjects/ternary",
    "epsvae/subjects/ternary/library",
    "epsvae/subjects/ternary/map",
    "epsvae/subjects/ternary/uses",
    "research",
    "tools",
)
"""From the ground up. `epsvae` stands for the files at its top, the last two for all below them."""


@cache
def room_of(module: str) -> str | None:
    """The room that holds a module: the longest that its path begins with."""
    path = module.replace(".", "/")
    if not (ROOT / f"{path}.py").exists() and not (ROOT / path).is_dir():
        path = path.rpartition("/")[0]  # a name within a module
    held = [room for room in ROOMS if f"{path}/".startswith(f"{room}/")]
    return max(held, key=len) if held else None


def picture() -> str:
    """Who imports whom, a line a room."""
    found: dict[str, set[str]] = {room: set() for room in ROOMS}
    for top in ("epsvae", "research", "tools"):
        for path in (ROOT / top).rglob("*.py"):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
            room = room_of(module)
            assert room is not None
            found[room] |= {other for name in imported(path) if (other := room_of(name))} - {room}
    lines = []
    for room, others in found.items():
        names = ", ".join(_short(other) for other in ROOMS if other in others)
        line = f"{_short(room):16} imports {names}"
        lines.append(textwrap.fill(line, 96, subsequent_indent=" " * 25))
    return "\n".join(lines)


def _short(room: str) -> str:
    return "the top" if room == "epsvae" else room.removeprefix("epsvae/").removeprefix("subjects/")


def test_contributing_shows_who_imports_whom() -> None:
    assert picture() in (ROOT / "CONTRIBUTING.md").read_text(), f"expected\n{picture()}"
