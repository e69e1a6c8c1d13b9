"""Where will a run end? Its last z, told from its first checkpoints.

Persistence says: where it is now. Extrapolation says: straight on. A learned forecast asks what
training runs went on to do from a like place and with a like velocity.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from sklearn.linear_model import RidgeCV

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.uses.preview import anchor_errors
from epsvae.uses.trajectory import SLACK, WINDOW, Trajectory

STRENGTHS = np.logspace(-1, 5, 19)
"""Of the ridge; the one with the smallest error on training runs left out in turn is taken."""
PLACE, VELOCITY, BOTH = "place", "velocity", "place and velocity"
"""What a forecast may know of an early path."""


@dataclass(frozen=True, eq=False)
class Early:
    """What is known of a run at some epoch, and how long it will go on."""

    z: Float[np.ndarray, "latent"]
    velocity: Float[np.ndarray, "latent"]
    """Per epoch, over the last `WINDOW` epochs, or over what there is."""
    remaining: float
    """Epochs to the end."""


def early_part(path: Trajectory, share: float, last_epoch: float | None = None) -> Early:
    """A run as it stood after a share of its epochs (all of them by default its own last one).

    Raises EpsvaeError if fewer than two checkpoints are that early: one has no velocity.
    """
    last = float(path.epochs[-1]) if last_epoch is None else last_epoch
    n_early = int((path.epochs <= share * last + SLACK).sum())
    if n_early < 2:
        raise EpsvaeError(
            f"run {path.run!r}: expected two checkpoints in the first {share:.0%} of "
            f"{last:g} epochs, found {n_early}"
        )
    epochs, z = path.epochs[:n_early], path.z[:n_early]
    start = max(0, int((epochs <= epochs[-1] - WINDOW + SLACK).sum()) - 1)
    velocity = (z[-1] - z[start]) / (epochs[-1] - epochs[start])
    return Early(z[-1], velocity, last - float(epochs[-1]))


def persist(runs: Sequence[Early]) -> Float[np.ndarray, "runs latent"]:
    """The forecast that nothing will change."""
    return np.stack([early.z for early in runs])


def extrapolate(runs: Sequence[Early], damping: float = 1.0) -> Float[np.ndarray, "runs latent"]:
    """Straight on, at `damping` times the present velocity."""
    ahead = [damping * early.remaining * early.velocity for early in runs]
    return persist(runs) + np.array(ahead)


def best_damping(runs: Sequence[Early], ends: Float[np.ndarray, "runs latent"]) -> float:
    """The damping with the smallest squared error on runs whose end is known; 0 if none moved."""
    ahead = extrapolate(runs) - persist(runs)
    squared = float((ahead**2).sum())
    return float((ahead * (ends - persist(runs))).sum()) / squared if squared > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Forecast:
    """A ridge regression of the way that remains on early place, velocity or both."""

    ridge: RidgeCV
    knows: str
    left_out_error: float
    """Mean squared error per coordinate on training runs, each left out in its turn."""

    def __call__(self, runs: Sequence[Early]) -> Float[np.ndarray, "runs latent"]:
        """The last z of each run."""
        return persist(runs) + self.ridge.predict(_features(runs, self.knows))


def fit_forecast(
    runs: Sequence[Early], ends: Float[np.ndarray, "runs latent"], knows: str = BOTH
) -> Forecast:
    """Learn from training runs, at one share of their epochs, where runs end."""
    ridge = RidgeCV(STRENGTHS).fit(_features(runs, knows), ends - persist(runs))
    return Forecast(ridge, knows, -float(ridge.best_score_))


def choose_forecast(runs: Sequence[Early], ends: Float[np.ndarray, "runs latent"]) -> Forecast:
    """The forecast with the smallest error on left-out training runs, whatever it knows."""
    forecasts = (fit_forecast(runs, ends, knows) for knows in (PLACE, VELOCITY, BOTH))
    return min(forecasts, key=lambda forecast: forecast.left_out_error)


def _features(runs: Sequence[Early], knows: str) -> Float[np.ndarray, "runs features"]:
    """Place, and the way to go at the present velocity: both in units of z."""
    ahead = extrapolate(runs) - persist(runs)
    known = {PLACE: [persist(runs)], VELOCITY: [ahead], BOTH: [persist(runs), ahead]}
    return np.hstack(known[knows])


def copy_nearest(
    runs: Sequence[Early], known: Sequence[Early], ends: Float[np.ndarray, "known latent"]
) -> Float[np.ndarray, "runs latent"]:
    """Go on as the training run did that stood closest in z at the same share of its epochs."""
    places, places_known = persist(runs), persist(known)
    distances = np.linalg.norm(places[:, None] - places_known[None], axis=2)
    return places + (ends - places_known)[distances.argmin(axis=1)]


@torch.no_grad()
def endpoint_errors(
    model: EpsilonVAE,
    z: Float[np.ndarray, "runs latent"],
    true_z: Float[np.ndarray, "runs latent"],
    true_embeddings: Float[np.ndarray, "runs anchors dim"],
    true_metrics: Float[np.ndarray, "runs 3"],
) -> pd.DataFrame:
    """One row a run: distance in z, mean Poincaré distance of anchors, absolute errors of metrics.

    The first is measured from what the map reads in the last checkpoint, the others from what that
    checkpoint does when it is run; raises EpsvaeError if those embeddings are not inside the ball.
    """
    points = torch.as_tensor(z, dtype=torch.float32)
    metrics = model.predict_metrics(points).double().numpy()
    anchors = model.decode_embeddings(points).numpy()
    found = network_errors(anchors, metrics, true_embeddings, true_metrics)
    found.insert(0, "z", np.linalg.norm(z - true_z, axis=1))
    return found


def network_errors(
    embeddings: Float[np.ndarray, "runs anchors dim"],
    metrics: Float[np.ndarray, "runs 3"],
    true_embeddings: Float[np.ndarray, "runs anchors dim"],
    true_metrics: Float[np.ndarray, "runs 3"],
) -> pd.DataFrame:
    """`endpoint_errors` without z, of networks whose behaviour is known or predicted elsewhere."""
    points, truth = (
        torch.from_numpy(np.array(part, dtype=np.float32)) for part in (embeddings, true_embeddings)
    )
    errors = np.abs(metrics - true_metrics)
    return pd.DataFrame(
        {
            "poincare": anchor_errors(points, truth).mean(-1).double().numpy(),
            **dict(zip(METRIC_NAMES, errors.T, strict=True)),
        }
    )
