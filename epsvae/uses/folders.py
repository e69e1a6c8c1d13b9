"""Files and folders of checkpoints that are not ours: read what can be read, refuse the rest."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from epsvae.errors import CheckpointError
from epsvae.library.files import Checkpoint, load_checkpoint
from epsvae.map.calibration import Calibration
from epsvae.map.fingerprint import checkpoint_fingerprint
from epsvae.map.model import EpsilonVAE
from epsvae.map.predict import checkpoint_files

T = TypeVar("T")


def each_file(
    files: Sequence[Path], use: Callable[[Path, Checkpoint], T]
) -> tuple[list[T], list[str]]:
    """(results, refused): what `use` makes of each file, and why others were refused.

    A folder stands for the checkpoint files in it, at any depth. A CheckpointError refuses its file
    and does not stop the others.
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
                results.append(use(file, load_checkpoint(file)))
            except CheckpointError as error:
                refused.append(str(error))
    return results, refused


def off_map_score(
    model: EpsilonVAE, checkpoint: Checkpoint, calibration: Calibration | None
) -> float:
    """Above 1 is off the map; NaN without a calibration."""
    if calibration is None:
        return float("nan")
    return float(calibration.offmap(checkpoint_fingerprint(model, checkpoint)).score)
