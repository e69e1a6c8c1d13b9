"""What is remembered of runs: a hash of all that outputs depend on, and which chapters failed."""

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from epsvae.atomic import replacing
from tools.book.chapters import Chapter

__all__ = ["Stamps", "chapter_stamp", "read_failures", "record_failures", "source_stamp"]

logger = logging.getLogger(__name__)

STAMPS = Path("artifacts", "book", "stamps.json")
FAILED = Path("artifacts", "book", "failed.json")
REFERENCE = Path("data", "reference")
SOURCES = {".py", ".mplstyle"}
ROOMS = ("epsvae", "research", "tools")


def write_text(path: Path, text: str) -> None:
    """Write a text file so that a reader sees the old or the new content, never a part."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf8")


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
        write_text(self.path, json.dumps(self._stamps, indent=2, sort_keys=True))


def read_failures(root: Path) -> dict[str, str]:
    """Chapter names and reasons; empty where nothing was run yet."""
    path = root / FAILED
    if not path.is_file():
        return {}
    failures: dict[str, str] = json.loads(path.read_text(encoding="utf8"))
    return failures


def record_failures(root: Path, failed: Mapping[str, str], well: Iterable[str]) -> None:
    """Add what failed and forget what went well; the file moves only if its content does."""
    before = read_failures(root)
    after = {name: text for name, text in before.items() if name not in set(well)} | dict(failed)
    if after != before or not (root / FAILED).is_file():
        write_text(root / FAILED, json.dumps(after, indent=2, sort_keys=True) + "\n")
