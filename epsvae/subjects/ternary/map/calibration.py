"""How far to trust a prediction: an interval for each metric, and a flag for what is off the map.

The intervals are conformal (Vovk et al., 2005; Lei et al., 2018), with runs as the unit: each
calibration run has the same weight, however many checkpoints it left, and one more run's weight is
set aside for the run to come (Lee, Barber and Willett, 2023). If runs are exchangeable, then a
checkpoint drawn from a new run is inside about as often as was chosen, or more. Libraries for
conformal prediction take rows, not runs, as the unit; here a weighted quantile does all of it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from epsvae.atomic import replacing
from epsvae.errors import CheckpointError
from epsvae.map.intervals import distances, local_errors
from epsvae.map.novelty import Distance, Scale
from epsvae.subjects.ternary.map.offmap import OffMap
from epsvae.subjects.ternary.metrics import METRICS

LOWEST = tuple(metric.low for metric in METRICS)
"""Lower bound of each metric; the upper one is 1."""
FORMAT = "epsvae-calibration-1"
FILE = "calibration.safetensors"
"""Name of the file beside a map."""
PARTS = ("mean", "spread", "basis", "variance", "rest")

Errors = Float[np.ndarray, "n 3"]


@dataclass(frozen=True, eq=False)
class Calibration:
    """What a map's predictions were worth on runs that it had not seen."""

    z: Float[np.ndarray, "n latent"]
    """Calibration checkpoints: training runs, each left out in its turn, and validation runs."""
    errors: Errors
    """Absolute errors of their metrics."""
    quantiles: Float[np.ndarray, "3"]
    """Half width of the intervals in units of the local error; infinite with too few runs."""
    offmap: OffMap

    def intervals(
        self, z: Float[np.ndarray, "m latent"], metrics: Float[np.ndarray, "m 3"]
    ) -> tuple[Float[np.ndarray, "m 3"], Float[np.ndarray, "m 3"]]:
        """Lower and upper ends for predicted metrics, inside the metrics' ranges.

        They hold for checkpoints of new runs of the library. Off the map nothing is promised.
        """
        half = self.quantiles * local_errors(distances(z, self.z), self.errors)
        return np.maximum(metrics - half, LOWEST), np.minimum(metrics + half, 1.0)


def save_calibration(calibration: Calibration, path: Path | str) -> None:
    """Write a calibration as safetensors, at once."""
    offmap = calibration.offmap
    tensors = {name: torch.from_numpy(getattr(calibration, name)) for name in ("z", "errors")}
    for name, distance in offmap.distances.items():
        tensors |= {f"{name}/{part}": getattr(distance, part) for part in PARTS}
    facts = {
        "quantiles": calibration.quantiles.tolist(),
        "thresholds": offmap.thresholds,
        "scales": {name: (s.typical, s.rare) for name, s in offmap.scales.items()},
    }
    half = {name: tensor.to(torch.float32).contiguous() for name, tensor in tensors.items()}
    contents = save(half, {"format": FORMAT, "facts": json.dumps(facts)})
    with replacing(Path(path)) as temporary:
        temporary.write_bytes(contents)


def load_calibration(path: Path | str) -> Calibration:
    """Read a calibration; raises CheckpointError, naming the file, if it is not one."""
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a calibration, found no file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"{path}: expected a calibration, found: {error}") from error
    if metadata.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected a calibration of format {FORMAT}, found another")
    facts = json.loads(metadata["facts"])
    return Calibration(
        tensors["z"].numpy(),
        tensors["errors"].double().numpy(),
        np.array(facts["quantiles"]),
        _offmap(tensors, facts["scales"], facts["thresholds"]),
    )


def _offmap(
    tensors: Mapping[str, Tensor], scales: Mapping[str, list[float]], thresholds: list[float]
) -> OffMap:
    distances = {name: Distance(*(tensors[f"{name}/{part}"] for part in PARTS)) for name in scales}
    return OffMap(
        distances,
        {name: Scale(*ends) for name, ends in scales.items()},
        (thresholds[0], thresholds[1]),
    )
