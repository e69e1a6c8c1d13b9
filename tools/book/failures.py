"""Which chapters failed when they were last run, and why: for the pages, and for the next run."""

import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from tools.book.stamps import write_atomically

__all__ = ["read_failures", "record_failures"]

FAILED = Path("artifacts", "book", "failed.json")


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
        write_atomically(root / FAILED, json.dumps(after, indent=2, sort_keys=True) + "\n")
