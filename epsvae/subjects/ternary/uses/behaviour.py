"""What ternary networks do, compared: distances and movements of their anchors in the ball."""

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import poincare
from epsvae.subjects.ternary.metrics import METRICS
from epsvae.uses.stagnation import metric_gain
from epsvae.uses.trajectory import WINDOW, Trajectory, window_starts


def behaviour_distances(
    a: Float[np.ndarray, "n anchors dim"], b: Float[np.ndarray, "m anchors dim"]
) -> Float[np.ndarray, "n m"]:
    """How differently checkpoints behave: Poincaré distance of their anchors, mean over anchors.

    Raises EpsvaeError for points that are not inside the ball.
    """
    x, y = (_in_ball(points) for points in (a, b))
    total = torch.zeros(len(a), len(b), dtype=torch.double)
    for p, q in zip(x.unbind(1), y.unbind(1), strict=True):
        p2, q2 = p.square().sum(1), q.square().sum(1)
        gap = (p2[:, None] + q2 - 2 * p @ q.T).clamp_min(0)
        total += poincare.from_gap(gap, (1 - p2[:, None]) * (1 - q2))
    return (total / x.shape[1]).numpy()


def _in_ball(points: Float[np.ndarray, "n anchors dim"]) -> Float[Tensor, "n anchors dim"]:
    tensor = torch.tensor(points, dtype=torch.double)
    if not (tensor.norm(dim=-1) < 1).all():
        raise EpsvaeError("embeddings: expected points inside the unit ball, found others")
    return tensor


SIGNS = tuple(metric.sign for metric in METRICS)


def step_movements(embeddings: Float[np.ndarray, "n anchors dim"]) -> Float[np.ndarray, "steps"]:
    """Mean Poincaré distance of anchors from each checkpoint to the next.

    Raises EpsvaeError for points that are not inside the ball.
    """
    points = _inside(embeddings)
    return poincare.distance(points[:-1], points[1:]).mean(-1).double().numpy()


def true_movement(
    embeddings: Float[np.ndarray, "n anchors dim"],
    epochs: Float[np.ndarray, "n"],
    window: float = WINDOW,
) -> Float[np.ndarray, "n"]:
    """Mean Poincaré distance per epoch that anchors are from where they were a window before.

    NaN where the run is younger. Raises EpsvaeError for points that are not inside the ball.
    """
    points = _inside(embeddings)
    starts, known = window_starts(epochs, window)
    distances = poincare.distance(points, points[torch.from_numpy(starts)]).mean(-1)
    spans = np.where(known, epochs - epochs[starts], np.nan)
    return distances.double().numpy() / spans


def _inside(embeddings: Float[np.ndarray, "n anchors dim"]) -> Float[Tensor, "n anchors dim"]:
    points = torch.from_numpy(np.array(embeddings, dtype=np.float32))
    if not (points.square().sum(-1) < 1).all():  # NaN is not inside either
        raise EpsvaeError("embeddings: expected points inside the unit ball, found others")
    return points


def signals(
    path: Trajectory,
    predicted: Float[np.ndarray, "n 3"],
    metrics: Float[np.ndarray, "n 3"],
    embeddings: Float[np.ndarray, "n anchors dim"],
    window: float = WINDOW,
) -> pd.DataFrame:
    """What the map sees of a run, and what is true of it: one row a checkpoint that is old enough.

    Columns run, epoch; pace, gain (of predicted metrics); movement, true_gain.
    """
    epochs = path.epochs
    frame = pd.DataFrame(
        {
            "run": path.run,
            "epoch": epochs,
            "pace": path.paces(window),
            "gain": metric_gain(predicted, epochs, window, SIGNS),
            "movement": true_movement(embeddings, epochs, window),
            "true_gain": metric_gain(metrics, epochs, window, SIGNS),
        }
    )
    return frame[window_starts(epochs, window)[1]].reset_index(drop=True)
