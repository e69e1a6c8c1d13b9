"""What watching costs: the monitor beside a training step and beside the full evaluation."""

from collections.abc import Callable

import pandas as pd

from epsvae.subjects.ternary import TernaryVAE, evaluate
from epsvae.subjects.ternary.map.calibration import Calibration
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.uses.monitor import QualityMonitor
from research.bench.timing import Timing, time_calls

COLUMNS = ("what", "milliseconds", "low", "high")


def monitor_overhead(
    network: TernaryVAE,
    step: Callable[[], object],
    model: EpsilonVAE,
    calibration: Calibration,
    repeats: int = 15,
) -> pd.DataFrame:
    """Milliseconds of one training step, of one look by the monitor with and without calibration,
    and of the full evaluation; columns `COLUMNS` (the median and the extremes).

    `step` makes one step of the training that is watched. By the clock on the wall, on this machine
    and now, with as many torch threads as are set. `step` is called `repeats` + 1 times.
    """
    maps = TernaryMap(model), TernaryMap(model, calibration)
    plain, whole = (QualityMonitor(asked) for asked in maps)
    state = {name: tensor.detach() for name, tensor in network.named_parameters()}
    calls: dict[str, Callable[[], object]] = {
        "training step": step,
        "monitor: metrics": lambda: plain(network, 0),
        "monitor: metrics, intervals, flag": lambda: whole(network, 0),
        "full evaluation": lambda: evaluate(state, network.architecture, network.max_radius),
    }
    found = {what: time_calls(call, repeats) for what, call in calls.items()}
    rows = [(what, *_values(timing)) for what, timing in found.items()]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def share_of_training(overhead: pd.DataFrame, every: int) -> float:
    """Time of the calibrated monitor, called every so many steps, relative to the training's."""
    times = overhead.set_index("what")["milliseconds"]
    return float(times["monitor: metrics, intervals, flag"] / (every * times["training step"]))


def _values(timing: Timing) -> tuple[float, float, float]:
    return timing.median, timing.low, timing.high
