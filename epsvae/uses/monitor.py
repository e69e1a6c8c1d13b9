"""Watch a training through the map: predicted metrics, their intervals and a flag, as it goes.

    monitor = QualityMonitor(model, calibration, every=100)
    for step, batch in enumerate(batches):
        ...
        monitor(network, step)

Nothing of the training is touched: no random number is drawn, no mode or gradient changed.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

from epsvae.errors import EpsvaeError
from epsvae.library.architecture import infer_architecture
from epsvae.library.files import DEFAULT_MAX_RADIUS, Checkpoint
from epsvae.library.published import find_state
from epsvae.map.calibration import Calibration
from epsvae.map.look import look
from epsvae.map.model import EpsilonVAE
from epsvae.map.predict import ENDS
from epsvae.ternary import METRIC_NAMES, Metrics
from epsvae.threads import one_thread

NOT_FINITE, UNREAD = "weights (not finite)", "behaviour (not finite)"
UNKNOWN = (float("nan"),) * len(METRIC_NAMES)


@dataclass(frozen=True)
class Report:
    """What the map says of a network at one step."""

    step: int
    predicted: Metrics
    """NaN if the weights are not finite, or too large to be read."""
    low: Metrics
    """Lower ends of the 90 % intervals; NaN without a calibration."""
    high: Metrics
    off_map: float
    """Above 1 is flagged; NaN without a calibration."""
    flag: bool
    """Off the map: the intervals promise nothing."""
    why: str
    """What stands out, if anything does."""


class QualityMonitor:
    """A callback for any training loop; `history` holds its reports.

    `every` steps it reads the network; at other steps it gives None. `calibration` is the map's own
    and brings intervals and the flag. `max_radius` is the network's where it does not say itself.
    Raises EpsvaeError for fewer steps than one and for a radius that is not in (0, 1).
    """

    def __init__(
        self,
        model: EpsilonVAE,
        calibration: Calibration | None = None,
        every: int = 1,
        max_radius: float | None = None,
    ) -> None:
        if every < 1:
            raise EpsvaeError(f"every: expected a positive number of steps, found {every}")
        if max_radius is not None and not 0 < max_radius < 1:
            raise EpsvaeError(f"max_radius: expected a number in (0, 1), found {max_radius}")
        self.model, self.calibration, self.every = model, calibration, every
        self.max_radius = max_radius
        self.history: list[Report] = []

    @one_thread()
    def __call__(self, network: nn.Module | Mapping[str, Tensor], step: int) -> Report | None:
        """Read a module, or its state dict, on any device and within usual wrappers.

        Raises CheckpointError for a network that the map cannot read: another kind, or another
        dimension of embeddings. Weights that are no longer finite are not an error; the report
        says so.
        """
        if step % self.every:
            return None
        report = self._read(self._checkpoint(network), step)
        self.history.append(report)
        return report

    def table(self) -> pd.DataFrame:
        """All reports: step, the metrics' names, `ENDS` of intervals, off_map, flag, why."""
        columns = ["step", *METRIC_NAMES, *ENDS, "off_map", "flag", "why"]
        return pd.DataFrame([_row(report) for report in self.history], columns=columns)

    def _checkpoint(self, network: nn.Module | Mapping[str, Tensor]) -> Checkpoint:
        contents = network.state_dict() if isinstance(network, nn.Module) else network
        state = {n: t.detach().to("cpu", torch.float32) for n, t in find_state(contents).items()}
        radius = float(getattr(network, "max_radius", DEFAULT_MAX_RADIUS))
        return Checkpoint(state, infer_architecture(state), self.max_radius or radius)

    @torch.no_grad()
    def _read(self, checkpoint: Checkpoint, step: int) -> Report:
        if not all(tensor.isfinite().all() for tensor in checkpoint.state.values()):
            return _nothing(step, NOT_FINITE)
        seen = look(self.model, checkpoint, self.calibration)
        found = self.model.predict_metrics(seen.z)
        if not found.isfinite().all():
            return _nothing(step, UNREAD)
        predicted = Metrics(*found.tolist())
        if self.calibration is None:
            unknown = Metrics(*UNKNOWN)
            return Report(step, predicted, unknown, unknown, float("nan"), False, "")
        ends = self.calibration.intervals(seen.z[None].numpy(), found[None].double().numpy())
        low, high = (Metrics(*np.asarray(end)[0].tolist()) for end in ends)
        return Report(step, predicted, low, high, seen.off_map, seen.flag, seen.why)


def _nothing(step: int, why: str) -> Report:
    unknown = Metrics(*UNKNOWN)
    return Report(step, unknown, unknown, unknown, float("inf"), True, why)


def _row(report: Report) -> list[object]:
    pairs = zip(report.low.vector(), report.high.vector(), strict=True)
    ends = [float(end) for pair in pairs for end in pair]
    values = asdict(report.predicted).values()
    return [report.step, *values, *ends, report.off_map, report.flag, report.why]
