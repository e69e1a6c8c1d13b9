"""Conformal intervals of the metrics, with runs as the unit; half widths follow the errors nearby.

Conformal (Vovk et al., 2005; Lei et al., 2018): each calibration run has the same weight, however
many checkpoints it left, and one more run's weight is set aside for the run to come (Lee, Barber
and Willett, 2023). If runs are exchangeable, then a checkpoint drawn from a new run is inside about
as often as was chosen, or more. Libraries for conformal prediction take rows, not runs, as the
unit; here a weighted quantile does all of it.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.bootstrap import run_weights
from epsvae.map.half import rounded
from epsvae.map.quadrature import QuadratureMap

LEVEL = 0.9
"""How often an interval should hold the truth."""
NEIGHBOURS = 20
"""Checkpoints of other runs whose errors say how hard a place of the map is."""
SHARED = 0.5
"""Of the mean error, added to a local one: no neighbourhood is taken to be free of error."""
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


def distances(
    a: Float[np.ndarray, "m latent"],
    b: Float[np.ndarray, "n latent"],
    runs: np.ndarray | None = None,
) -> Float[np.ndarray, "m n"]:
    """Euclidean distances in z; with `runs` of a = b, infinite between checkpoints of one run."""
    apart = torch.cdist(torch.from_numpy(a), torch.from_numpy(b)).double().numpy()
    return apart if runs is None else np.where(runs[:, None] == runs, np.inf, apart)


def local_errors(
    apart: Float[np.ndarray, "m n"], errors: Float[np.ndarray, "n metrics"]
) -> Float[np.ndarray, "m metrics"]:
    """How hard the map finds each of m places: mean error of the nearest of n checkpoints, plus a
    share of the mean error of all."""
    k = min(NEIGHBOURS, errors.shape[0])
    nearest = np.argpartition(apart, k - 1, axis=1)[:, :k]
    return errors[nearest].mean(1) + SHARED * errors.mean(0) + TINY


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
