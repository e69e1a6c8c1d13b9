"""The errors of the package: each names what was wrong, what was expected and what came."""

__all__ = ["ChapterError", "CheckpointError", "EpsvaeError", "LibraryError", "SubjectError"]


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
