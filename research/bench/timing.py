"""How long a call takes: the median and the extremes of several."""

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import perf_counter


@dataclass(frozen=True)
class Timing:
    """Milliseconds of one call: the median and the extremes over several."""

    median: float
    low: float
    high: float

    def per(self, n: int) -> "Timing":
        """Of one of the n equal parts of the call."""
        return Timing(self.median / n, self.low / n, self.high / n)


def time_calls(call: Callable[[], object], repeats: int = 15) -> Timing:
    """Time a call, by the clock on the wall, after one that does not count."""
    call()
    return timing_of([seconds_of(call, perf_counter) for _ in range(repeats)])


def seconds_of(call: Callable[[], object], clock: Callable[[], float]) -> float:
    """Seconds of one call by a given clock."""
    start = clock()
    call()
    return clock() - start


def timing_of(seconds: list[float]) -> Timing:
    """Timing of calls that took so many seconds."""
    return Timing(1e3 * median(seconds), 1e3 * min(seconds), 1e3 * max(seconds))
