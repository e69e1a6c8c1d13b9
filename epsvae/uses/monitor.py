"""Watch a training through the map: predicted metrics, their intervals and a flag, as it goes.

    monitor = QualityMonitor(asked, every=100)
    for step, batch in enumerate(batches):
        ...
        monitor(network, step)

Nothing of the training is touched: no random number is drawn, no mode or gradient changed.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import pandas as pd
import torch
from torch import Tensor, nn

from epsvae.errors import EpsvaeError
from epsvae.map.calibrated import CalibratedMap
from epsvae.map.predict import OFF_MAP
from epsvae.threads import one_thread

NOT_FINITE, UNREAD = "weights (not finite)", "behaviour (not finite)"
NAN = float("nan")


@dataclass(frozen=True)
class Report:
    """What the map says of a network at one step; metrics by name."""

    step: int
    predicted: Mapping[str, float]
    """NaN if the weights are not finite, or too large to be read."""
    low: Mapping[str, float]
    """Lower ends of the 90 % intervals; NaN without a calibration."""
    high: Mapping[str, float]
    off_map: float
    """Above 1 is flagged; NaN without a calibration."""
    flag: bool
    """Off the map: the intervals promise nothing."""
    why: str
    """What stands out, if anything does."""


class QualityMonitor:
    """A callback for any training loop; `history` holds its reports.

    `every` steps it reads the network; at other steps it gives None. Raises EpsvaeError for fewer
    steps than one.
    """

    def __init__(self, asked: CalibratedMap, every: int = 1) -> None:
        if every < 1:
            raise EpsvaeError(f"every: expected a positive number of steps, found {every}")
        self.asked, self.every = asked, every
        self.history: list[Report] = []

    @one_thread()
    def __call__(self, network: nn.Module | Mapping[str, Tensor], step: int) -> Report | None:
        """Read a module, or its state dict, on any device and within usual wrappers.

        Raises CheckpointError for a network that the map cannot read. Weights that are no longer
        finite are not an error; the report says so.
        """
        if step % self.every:
            return None
        report = self._read(network, step)
        self.history.append(report)
        return report

    def table(self) -> pd.DataFrame:
        """All reports: step, each metric, its ends `<name>_low` and `<name>_high`, off_map, flag,
        why."""
        names = [metric.name for metric in self.asked.metrics]
        ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
        rows = [_row(report) for report in self.history]
        return pd.DataFrame(rows, columns=["step", *names, *ends, *OFF_MAP])

    @torch.no_grad()
    def _read(self, network: nn.Module | Mapping[str, Tensor], step: int) -> Report:
        checkpoint = self.asked.take(network)
        if not all(tensor.isfinite().all() for tensor in checkpoint.state.values()):
            return self._nothing(step, NOT_FINITE)
        place = self.asked.look(checkpoint)
        if not torch.from_numpy(place.metrics).isfinite().all():
            return self._nothing(step, UNREAD)
        predicted, low, high = map(self._named, (place.metrics, place.low, place.high))
        return Report(step, predicted, low, high, place.off_map, place.flag, place.why)

    def _named(self, values: Iterable[float]) -> dict[str, float]:
        names = (metric.name for metric in self.asked.metrics)
        return dict(zip(names, map(float, values), strict=True))

    def _nothing(self, step: int, why: str) -> Report:
        unknown = dict.fromkeys((metric.name for metric in self.asked.metrics), NAN)
        return Report(step, unknown, unknown, unknown, float("inf"), True, why)


def _row(report: Report) -> dict[str, object]:
    ends = {f"{name}_low": value for name, value in report.low.items()}
    ends |= {f"{name}_high": value for name, value in report.high.items()}
    about = {"off_map": report.off_map, "flag": report.flag, "why": report.why}
    return {"step": report.step, **report.predicted, **ends, **about}
