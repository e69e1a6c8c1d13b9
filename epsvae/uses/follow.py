"""Follow the runs in a folder of checkpoint files, wherever these come from."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from epsvae.checkpoints import checkpoint_files
from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.map.calibrated import CalibratedMap, look_on_map
from epsvae.uses.stagnation import StagnationRule, metric_gain
from epsvae.uses.trajectory import WINDOW, Trajectory

EPOCH_IN_NAME = re.compile(r"(?:epoch|step)[_-]?(\d+(?:\.\d+)?)")
"""Where a file does not say its epoch, its name may."""


@dataclass(frozen=True, eq=False)
class Followed:
    """What came of a folder."""

    table: pd.DataFrame
    """One row a checkpoint, by run and epoch: run, epoch, file, the predicted metrics, step (length
    in z since the one before), speed (that per epoch), turning (degrees, at the checkpoint), pace
    (net movement per epoch over a window), gain (of the predicted metric that gained most, per
    epoch) and, with a rule, alarm. NaN where a run is too short to say."""
    paths: list[Trajectory]
    refused: list[str]
    """Files that were left out, each with its reason."""


@dataclass(frozen=True, eq=False)
class _Point:
    run: str
    epoch: float
    file: Path
    z: Float[np.ndarray, "latent"]


def follow(
    folder: Path | str, asked: CalibratedMap, rule: StagnationRule | None = None
) -> Followed:
    """Read every checkpoint below a folder onto the map; each directory is one run.

    Epochs are those that the files state, or else those in their names (``epoch_10.pt``). Files are
    refused that cannot be read, that tell no epoch, that repeat an epoch of their run and, with a
    calibrated map, that are off it. `rule` adds the alarm of stagnation. Raises
    EpsvaeError if nothing is left.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EpsvaeError(f"{folder}: expected a folder of checkpoints, found none")
    points: dict[tuple[str, float], _Point] = {}
    refused: list[str] = []
    for file in checkpoint_files(folder):
        try:
            point = _read(file, folder, asked)
            if known := points.get((point.run, point.epoch)):
                raise CheckpointError(
                    f"{file}: expected one checkpoint an epoch, found epoch "
                    f"{point.epoch:g} in {known.file.name}, too"
                )
            points[point.run, point.epoch] = point
        except CheckpointError as error:
            refused.append(str(error))
    if not points:
        why = f"; {refused[0]}" if refused else ""
        raise EpsvaeError(f"{folder}: expected a checkpoint that the map reads, found none{why}")
    runs: dict[str, list[_Point]] = {}
    for point in sorted(points.values(), key=lambda p: (p.run, p.epoch)):
        runs.setdefault(point.run, []).append(point)
    paths = [
        Trajectory(np.array([p.epoch for p in run]), np.stack([p.z for p in run]), name)
        for name, run in runs.items()
    ]
    tables = [_table(path, runs[path.run], asked, rule) for path in paths]
    return Followed(pd.concat(tables, ignore_index=True), paths, refused)


@torch.no_grad()
def _read(file: Path, folder: Path, asked: CalibratedMap) -> _Point:
    checkpoint = asked.open(file)
    epoch = _epoch(asked.facts(checkpoint).epoch, file)
    z = look_on_map(asked, checkpoint, file).z.double().numpy()
    run = file.parent.relative_to(folder).as_posix()
    return _Point(folder.resolve().name if run == "." else run, epoch, file, z)


def _epoch(stated: float | None, file: Path) -> float:
    if stated is not None:
        return float(stated)
    if found := EPOCH_IN_NAME.search(file.stem):
        return float(found[1])
    raise CheckpointError(f"{file}: expected an epoch in the file or in its name, found none")


@torch.no_grad()
def _table(
    path: Trajectory, points: list[_Point], asked: CalibratedMap, rule: StagnationRule | None
) -> pd.DataFrame:
    metrics = asked.predict_metrics(torch.as_tensor(path.z, dtype=torch.float32)).double().numpy()
    window = rule.window if rule else WINDOW
    turning = np.full(len(path), np.nan)
    turning[1:-1] = np.degrees(path.turning_angles)
    table = pd.DataFrame({"run": path.run, "epoch": path.epochs})
    table["file"] = [str(point.file) for point in points]
    table[[metric.name for metric in asked.metrics]] = metrics
    table["step"] = np.concatenate([[np.nan], path.step_lengths])
    table["speed"] = np.concatenate([[np.nan], path.speeds])
    table["turning"] = turning
    table["pace"] = path.paces(window)
    signs = [metric.sign for metric in asked.metrics]
    table["gain"] = metric_gain(metrics, path.epochs, window, signs)
    if rule:
        table["alarm"] = rule(table["pace"].to_numpy(), table["gain"].to_numpy())
    return table
