"""Calibrate a map on runs that it had not seen: see `calibration` for what comes of it."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.map.intervals import LEVEL, distances, local_errors, run_quantile
from epsvae.map.ridge import TINY, fit_ridge
from epsvae.subjects.ternary.map.calibration import Calibration, Errors
from epsvae.subjects.ternary.map.coverage import CoverageReader, weigh
from epsvae.subjects.ternary.map.data import MapData, metrics_of, runs_of
from epsvae.subjects.ternary.map.fit import read_split
from epsvae.subjects.ternary.map.fit_offmap import fit_offmap
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.ranges import link_coverage
from epsvae.threads import calm


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
