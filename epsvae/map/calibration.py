"""How far to trust a prediction: an interval for each metric, and a flag for what is off the map.

The intervals are conformal (Vovk et al., 2005; Lei et al., 2018), with runs as the unit: each
calibration run has the same weight, however many checkpoints it left, and one more run's weight is
set aside for the run to come (Lee, Barber and Willett, 2023). If runs are exchangeable, then a
checkpoint drawn from a new run is inside about as often as was chosen, or more. Libraries for
conformal prediction take rows, not runs, as the unit; here a weighted quantile does all of it.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from epsvae.errors import CheckpointError
from epsvae.library.atomic import replacing
from epsvae.map.coverage import CoverageReader, weigh
from epsvae.map.data import MapData, metrics_of, run_weights, runs_of
from epsvae.map.fit import read_split
from epsvae.map.model import EpsilonVAE
from epsvae.map.offmap import Distance, OffMap, Scale, fit_offmap
from epsvae.map.ranges import link_coverage
from epsvae.map.ridge import TINY, fit_ridge
from epsvae.threads import calm

LEVEL = 0.9
"""How often an interval should hold the truth."""
NEIGHBOURS = 20
"""Checkpoints of other runs whose errors say how hard a place of the map is."""
SHARED = 0.5
"""Of the mean error, added to a local one: no neighbourhood is taken to be free of error."""
LOWEST = (0.0, -1.0, -1.0)
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


@calm()
def calibrate(model: EpsilonVAE, data: MapData, level: float = LEVEL) -> Calibration:
    """Calibrate a map on its training and validation runs; the test runs are not read."""
    z, errors, runs = calibration_errors(model, data)
    scores = errors / local_errors(distances(z, z, runs), errors)
    quantiles = np.array([run_quantile(s, runs, level) for s in scores.T])
    return Calibration(z, errors, quantiles, fit_offmap(model, data))


@torch.no_grad()
def calibration_errors(
    model: EpsilonVAE, data: MapData
) -> tuple[Float[np.ndarray, "n latent"], Errors, np.ndarray]:
    """(z, absolute errors of the metrics, runs) of every training and validation checkpoint.

    A training run's errors are those of the map's ridge regressions fitted without that run.
    """
    readings = [read_split(model, split) for split in (data.train, data.validation)]
    z = [model.latent(r) for r in readings]
    targets = [metrics_of(split) for split in (data.train, data.validation)]
    held_out = (model.predict_metrics(z[1]) - targets[1]).double()
    runs = runs_of(data.train)
    features = zip(*(r.metric_features() for r in readings), strict=True)
    left_out = []
    for metric, (reader, x) in enumerate(zip(model.readers, features, strict=True)):
        y = [target[:, [metric]] for target in targets]
        predict = _coverage_without if isinstance(reader, CoverageReader) else _without
        left_out.append(predict(x, y, runs) - y[0][:, 0])
    errors = torch.cat([torch.stack(left_out, 1), held_out]).abs().numpy()
    return torch.cat(z).numpy(), errors, np.concatenate([runs, runs_of(data.validation)])


def _without(x: Sequence[Tensor], y: Sequence[Tensor], runs: np.ndarray) -> Float[Tensor, "n"]:
    """`predictions_without` on training runs, with the strength that validation runs choose."""
    strength = fit_ridge(nn.Linear(x[0].shape[1], 1), (x[0], y[0]), (x[1], y[1]))
    return predictions_without(x[0], y[0][:, 0], runs, strength)


def _coverage_without(
    x: Sequence[Tensor], y: Sequence[Tensor], runs: np.ndarray
) -> Float[Tensor, "n"]:
    """The same for coverage, which is read twice."""
    logit = _without(x, [link_coverage(target) for target in y], runs)
    return weigh(_without(x, y, runs), logit)


def predictions_without(
    x: Float[Tensor, "n features"], y: Float[Tensor, "n"], runs: np.ndarray, strength: float
) -> Float[Tensor, "n"]:
    """What a ridge regression predicts of each row when the row's run is left out of its fit.

    Exact and without refitting: if the fit is H y, then rows B without themselves have residuals
    (I - H_BB)^-1 r_B. Features stay standardised as they were with all runs.
    """
    features = (x.double() - x.double().mean(0)) / (x.double().std(0) + TINY)
    values, basis = torch.linalg.eigh(features @ features.T / features.shape[1])
    shrunk = values.clamp_min(0) / (values.clamp_min(0) + strength)
    hat = (basis * shrunk) @ basis.T + 1 / len(x)
    residual = y.double() - hat @ y.double()
    for run in np.unique(runs):
        rows = torch.from_numpy(np.flatnonzero(runs == run))
        own = torch.eye(len(rows), dtype=torch.double) - hat[rows][:, rows]
        residual[rows] = torch.linalg.solve(own, residual[rows])
    return y.double() - residual


def distances(
    a: Float[np.ndarray, "m latent"],
    b: Float[np.ndarray, "n latent"],
    runs: np.ndarray | None = None,
) -> Float[np.ndarray, "m n"]:
    """Euclidean distances in z; with `runs` of a = b, infinite between checkpoints of one run."""
    apart = torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).double().numpy()
    return apart if runs is None else np.where(runs[:, None] == runs, np.inf, apart)


def local_errors(apart: Float[np.ndarray, "m n"], errors: Errors) -> Float[np.ndarray, "m 3"]:
    """How hard the map finds each of m places: mean error of the nearest of n checkpoints, plus a
    share of the mean error of all."""
    k = min(NEIGHBOURS, errors.shape[0])
    nearest = np.argpartition(apart, k - 1, axis=1)[:, :k]
    return errors[nearest].mean(1) + SHARED * errors.mean(0)


def run_quantile(scores: Float[np.ndarray, "n"], runs: np.ndarray, level: float = LEVEL) -> float:
    """Conformal quantile over runs: every run has weight 1 / (runs + 1), shared by its checkpoints.

    The weight that is left belongs to the new run, at infinity. Infinite with fewer than
    level / (1 - level) runs.
    """
    n_runs = len(np.unique(runs))
    order = np.argsort(scores)
    weight = np.cumsum(run_weights(runs)[order]) * n_runs / (n_runs + 1)
    place = np.searchsorted(weight, level - 1e-9)
    return float(scores[order][place]) if place < len(scores) else float("inf")


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
