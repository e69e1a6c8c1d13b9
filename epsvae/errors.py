"""The errors of the package: each names what was wrong, what was expected and what came."""

from collections.abc import Iterable

__all__ = [
    "ChapterError",
    "CheckpointError",
    "EpsvaeError",
    "LibraryError",
    "SubjectError",
    "few",
]


class EpsvaeError(ValueError):
    """Base of every error that the package raises on purpose."""


class CheckpointError(EpsvaeError):
    """A checkpoint file cannot be used; the message names the file."""


class LibraryError(EpsvaeError):
    """A library of checkpoints is incomplete or contradicts itself; the message names the part."""


class ChapterError(EpsvaeError):
    """A chapter of the book cannot be run or breaks a rule; the message names the chapter."""


class SubjectError(EpsvaeError):
    """A subject does not keep its side of the seam; the message names the file and the part."""


def few(names: Iterable[str], limit: int = 4) -> str:
    """The first names, and how many there are beyond them."""
    names = list(names)
    more = f", and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(str(name)[:500] for name in names[:limit]) + more
