"""One look at a checkpoint: a single sweep says where it lies, and whether that is on the map."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import CheckpointError
from epsvae.library.files import Checkpoint
from epsvae.map.calibration import Calibration
from epsvae.map.fingerprint import fingerprint
from epsvae.map.model import EpsilonVAE
from epsvae.map.offmap import Novelty
from epsvae.map.sweep import Readings
from epsvae.threads import one_thread


@dataclass(frozen=True, eq=False)
class Look:
    """What one sweep of a checkpoint gives."""

    z: Float[Tensor, "latent"]
    readings: Readings
    """As the sweep gave them, in the checkpoint's own frame."""
    off_map: float
    """Above 1 is off the map; NaN without a calibration."""
    why: str
    """What stands out, in words; empty on the map."""

    @property
    def flag(self) -> bool:
        """Whether nothing is promised here."""
        return self.off_map > 1


@one_thread()
@torch.no_grad()
def look(model: EpsilonVAE, checkpoint: Checkpoint, calibration: Calibration | None) -> Look:
    """Look at a checkpoint of any widths and depths.

    Raises CheckpointError for one that the map was not made for. What overflows has NaN in z.
    """
    seen = model.sweep_checkpoint(checkpoint)
    z = model.latent(model.in_frame(seen))[0]
    if calibration is None:
        return Look(z, seen, float("nan"), "")
    state = {name: tensor[None] for name, tensor in checkpoint.state.items()}
    novelty = calibration.offmap(fingerprint(seen, state, checkpoint.architecture))
    return Look(z, seen, float(novelty.score), next(reasons(novelty)))


def look_finite(model: EpsilonVAE, checkpoint: Checkpoint, calibration: Calibration | None) -> Look:
    """The same; raises CheckpointError where no finite numbers are read, too."""
    seen = look(model, checkpoint, calibration)
    if not seen.z.isfinite().all():
        raise CheckpointError(
            f"{checkpoint.path}: expected a finite reading, found NaN or infinity"
        )
    return seen


def look_on_map(model: EpsilonVAE, checkpoint: Checkpoint, calibration: Calibration | None) -> Look:
    """The same; raises CheckpointError for a checkpoint that is flagged, too."""
    seen = look_finite(model, checkpoint, calibration)
    if seen.flag:
        raise CheckpointError(
            f"{checkpoint.path}: expected a checkpoint on the map, found an off-map score of "
            f"{seen.off_map:.2f}: {seen.why}"
        )
    return seen


def reasons(novelty: Novelty) -> Iterator[str]:
    """In words, what stands out of each checkpoint; empty where it is on the map."""
    parts = {"behaviour": novelty.reading, "weights": novelty.weights}
    for row in range(len(novelty.score)):
        found = [f"{n} ({p.block[row]})" for n, p in parts.items() if p.score[row] > 1]
        yield ", ".join(found)
