"""Conformal intervals of the metrics, with runs as the unit.

As in `epsvae.map.calibration`, for any metrics: half widths follow the errors nearby in z.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.map.calibration import LEVEL, NEIGHBOURS, SHARED, distances, run_quantile
from epsvae.map.half import rounded
from epsvae.map.quadrature import QuadratureMap

TINY = 1e-12
"""Added to errors, so that a metric without any has an interval."""


@dataclass(frozen=True, eq=False)
class Intervals:
    """What a map's predictions were worth on runs that its readers had not seen."""

    z: Float[Tensor, "n latent"]
    errors: Float[Tensor, "n metrics"]
    """Absolute errors of their metrics."""
    quantiles: Float[Tensor, "metrics"]
    """Half width of the intervals in units of the local error; infinite with too few runs."""

    def __call__(
        self, model: QuadratureMap, z: Float[Tensor, "m latent"]
    ) -> tuple[Float[Tensor, "m metrics"], Float[Tensor, "m metrics"]]:
        """Lower and upper ends, inside the metrics' ranges."""
        errors = self.errors.double().numpy()
        local = local_errors(distances(z.numpy(), self.z.numpy()), errors)
        half = self.quantiles * torch.from_numpy(local).float()
        low, high = (
            torch.tensor([getattr(metric, end) for metric in model.subject.metrics])
            for end in ("low", "high")
        )
        metrics = model.predict_metrics(z)
        return torch.maximum(metrics - half, low), torch.minimum(metrics + half, high)


def local_errors(
    apart: Float[np.ndarray, "m n"], errors: Float[np.ndarray, "n metrics"]
) -> Float[np.ndarray, "m metrics"]:
    """How hard the map finds each of m places: mean error of the nearest of n checkpoints, plus a
    share of the mean error of all."""
    nearest = np.argsort(apart, axis=1)[:, :NEIGHBOURS]
    return errors[nearest].mean(1) + SHARED * errors.mean(0) + TINY


def calibrate(
    model: QuadratureMap,
    z: Float[Tensor, "n latent"],
    metrics: Float[Tensor, "n metrics"],
    runs: np.ndarray,
    level: float = LEVEL,
) -> Intervals:
    """Intervals from z that were predicted without the checkpoints' own runs."""
    errors, z = (model.predict_metrics(z) - metrics).abs(), rounded(z)
    apart = distances(z.numpy(), z.numpy(), runs)
    scores = errors.double().numpy() / local_errors(apart, errors.double().numpy())
    quantiles = [run_quantile(column, runs, level) for column in scores.T]
    return Intervals(z, errors, torch.tensor(quantiles, dtype=torch.float32))
