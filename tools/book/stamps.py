"""Stamps: a short hash of everything that a chapter's outputs depend on."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from pathlib import Path

from tools.book.chapters import Chapter

__all__ = ["Stamps", "chapter_stamp", "outputs_stamp", "source_stamp", "write_atomically"]

logger = logging.getLogger(__name__)

STAMPS = Path("artifacts", "book", "stamps.json")
REFERENCE = Path("data", "reference")
SOURCES = {".py", ".mplstyle"}
ROOMS = ("epsvae", "research", "tools")


def write_atomically(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new content, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, encoding="utf8")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def source_stamp(root: Path) -> str:
    """Hash what all chapters share: package, workrooms, pins, the list of reference files."""
    digest = hashlib.sha256()
    rooms = [Path(__file__).parents[2] / room for room in ROOMS]
    shared = sorted(f for room in rooms for f in room.rglob("*") if f.suffix in SOURCES)
    for path in [*shared, root / "requirements.lock"]:
        if path.is_file():
            digest.update(path.name.encode() + path.read_bytes())
    for path in sorted((root / REFERENCE).rglob("*")):
        if path.is_file():
            digest.update(f"{path.relative_to(root)} {path.stat().st_size}".encode())
            digest.update(path.read_bytes() if path.suffix == ".json" else b"")
    return digest.hexdigest()


def chapter_stamp(chapter: Chapter, shared: str, upstream: Iterable[str]) -> str:
    """Hash a chapter's code (parameters included), the shared sources and what runs before it."""
    digest = hashlib.sha256(shared.encode())
    for text in [*(cell.source for cell in chapter.code_cells), *upstream]:
        digest.update(text.encode() + b"\0")
    return digest.hexdigest()


def outputs_stamp(chapter: Chapter) -> str:
    """Hash the outputs that a chapter's file holds, so that foreign outputs are noticed."""
    cells = [(cell.execution_count, cell.outputs) for cell in chapter.code_cells]
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


class Stamps:
    """The stamps of the last successful runs, kept in ``artifacts/book/stamps.json``."""

    def __init__(self, root: Path) -> None:
        self.path = root / STAMPS
        self._stamps: dict[str, list[str]] = {}
        if self.path.is_file():
            try:
                self._stamps = json.loads(self.path.read_text(encoding="utf8"))
            except json.JSONDecodeError as error:
                logger.warning("%s: forgotten, not JSON: %s", self.path, error)

    def is_current(self, chapter: Chapter, stamp: str) -> bool:
        """Whether the chapter's stored outputs are those of a run with this stamp."""
        return self._stamps.get(chapter.name) == [stamp, outputs_stamp(chapter)]

    def record(self, chapter: Chapter, stamp: str) -> None:
        """Remember that the chapter, as it is now, was run with this stamp."""
        self._stamps[chapter.name] = [stamp, outputs_stamp(chapter)]
        write_atomically(self.path, json.dumps(self._stamps, indent=2, sort_keys=True))
