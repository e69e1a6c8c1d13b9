"""The border to code that a user wrote: whatever it raises becomes an error that names it."""

from types import TracebackType

from epsvae.errors import EpsvaeError, SubjectError


class UsersCode:
    """``with UsersCode("my_subject.py", "build(state) to work"): …`` raises SubjectError only.

    Errors of this package pass through as they are, and so does a user who interrupts.
    """

    def __init__(self, name: str, expected: str) -> None:
        self._name, self._expected = name, expected

    def __enter__(self) -> None:
        pass

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if isinstance(error, EpsvaeError) or not isinstance(error, Exception | SystemExit):
            return
        reason = " ".join(str(error).split())
        raise SubjectError(
            f"{self._name}: expected {self._expected}, "
            f"found {type(error).__name__}: {reason:.300}{_line(self._name, trace)}"
        ) from error


def _line(name: str, trace: TracebackType | None) -> str:
    """Where in the user's file it failed, if it was there."""
    number = None
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == name:
            number = trace.tb_lineno
        trace = trace.tb_next
    return "" if number is None else f" (line {number})"
