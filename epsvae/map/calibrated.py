"""A map that can be asked about checkpoints: all that `uses/` and the command line know of one.

`epsvae.map.learn.FittedMap` is one for any subject; a subject may bring a map of its own that
offers the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.checkpoints import checkpoint_files
from epsvae.errors import CheckpointError, SubjectError
from epsvae.subject import Metric
from epsvae.threads import one_thread

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Place:
    """What one look at a checkpoint gives: where it lies, what that promises, and whether the
    promise holds there."""

    z: Float[Tensor, "latent"]
    metrics: Float[np.ndarray, "metrics"]
    """As the map predicts them, in its order."""
    low: Float[np.ndarray, "metrics"]
    """Lower ends of the intervals; NaN for a map without a calibration."""
    high: Float[np.ndarray, "metrics"]
    off_map: float
    """Above 1 is off the map; NaN without a calibration."""
    why: str = ""
    """What stands out, in words; empty on the map."""

    @property
    def flag(self) -> bool:
        """Whether nothing is promised here."""
        return self.off_map > 1


class Facts(NamedTuple):
    """What a checkpoint says of itself; None for what it does not say."""

    run: str | None
    epoch: float | None
    """Where the training stood, in the file's own unit: epochs or steps."""
    metrics: Mapping[str, float] | None


@runtime_checkable
class CalibratedMap(Protocol):
    """A map with its intervals and its off-map score. What it calls a checkpoint is its own
    business; it has a `state` of tensors."""

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is predicted."""

    @property
    def latent_dim(self) -> int:
        """Numbers in z."""

    @property
    def calibrated(self) -> bool:
        """Are there intervals and an off-map score?"""

    def open(self, file: Path) -> Any:
        """Read a file; raises CheckpointError, naming it, for what is no such checkpoint."""

    def take(self, network: nn.Module | Mapping[str, Tensor]) -> Any:
        """A network in memory, or its state dict, as a checkpoint: on any device, in usual
        wrappers."""

    def facts(self, checkpoint: Any) -> Facts:
        """What a checkpoint says of itself."""

    def look(self, checkpoint: Any) -> Place:
        """Run the map's inputs through a checkpoint, once. What overflows has NaN in z.

        Raises CheckpointError for one that the map was not made for.
        """

    def predict_metrics(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch metrics"]:
        """Metrics of points of z."""


def look_at(asked: CalibratedMap, checkpoint: Any, source: Path | str | None = None) -> Place:
    """Look; raises CheckpointError, naming the source, where no finite numbers are read."""
    place = asked.look(checkpoint)
    if not place.z.isfinite().all():
        raise CheckpointError(f"{source}: expected a finite reading, found NaN or infinity")
    return place


def look_on_map(asked: CalibratedMap, checkpoint: Any, source: Path | str | None = None) -> Place:
    """The same; raises CheckpointError for a checkpoint that is flagged, too."""
    place = look_at(asked, checkpoint, source)
    if place.flag:
        raise CheckpointError(
            f"{source}: expected a checkpoint on the map, found an off-map score of "
            f"{place.off_map:.2f}: {place.why}"
        )
    return place


@one_thread()
def each_file(
    asked: CalibratedMap, files: Sequence[Path | str], use: Callable[[Path, Any], T]
) -> tuple[list[T], list[str]]:
    """(results, refused): what `use` makes of each file's checkpoint, and why others were refused.

    A folder stands for the checkpoint files in it, at any depth. A CheckpointError or SubjectError
    refuses its file and does not stop the others.
    """
    results, refused = [], []
    for path in files:
        try:
            found = checkpoint_files(path)
        except CheckpointError as error:
            refused.append(str(error))
            continue
        for file in found:
            try:
                results.append(use(file, asked.open(file)))
            except (CheckpointError, SubjectError) as error:
                refused.append(str(error))
    return results, refused
