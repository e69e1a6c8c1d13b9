"""Preview of an embedding: where the map says that the anchors lie, beside where they do.

A file's true anchors cost one pass of 256 operations through its network. What a preview alone can
do is show a z that belongs to no file; on files it can be checked, and here it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from epsvae.bootstrap import bootstrap_weights, interval, mean_of
from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.map.calibrated import each_file
from epsvae.subjects.ternary import embed, operation_trits, operation_valuations, poincare
from epsvae.subjects.ternary.library.anchors import anchor_operations
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.map.frame import procrustes
from epsvae.subjects.ternary.map.look import Look, TernaryMap, epsilon_vae, look
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.ranges import inside_ball
from epsvae.subjects.ternary.uses.behaviour import behaviour_distances

COLUMNS = ("file", "error", "worst", "worst_anchor", "turned", "off_map", "flag")


@dataclass(frozen=True, eq=False)
class Preview:
    """Predicted and true anchors of one checkpoint."""

    predicted: Float[Tensor, "anchors dim"]
    true: Float[Tensor, "anchors dim"]
    errors: Float[Tensor, "anchors"]
    """Poincaré distance between the two, anchor by anchor."""
    turned: bool
    """The checkpoint lives in another frame: the true anchors are turned towards the predicted
    ones, which changes no distance among them."""


@torch.no_grad()
def true_anchors(checkpoint: Checkpoint) -> Float[Tensor, "anchors dim"]:
    """Where a network puts the anchor operations: it is run on these alone."""
    trits = operation_trits(anchor_operations())
    return embed(checkpoint.state, checkpoint.architecture, trits, checkpoint.max_radius)


@torch.no_grad()
def preview_checkpoint(
    model: EpsilonVAE, checkpoint: Checkpoint, seen: Look | None = None
) -> Preview:
    """Predicted anchors of a checkpoint of any widths beside its true ones.

    `seen` is a look at it, where there was one already. Raises CheckpointError, naming the file,
    for embeddings of another dimension or not finite.
    """
    seen = seen or look(model, checkpoint, None)
    predicted, true = model.decode_embeddings(seen.z), true_anchors(checkpoint)
    if not (predicted.isfinite().all() and true.isfinite().all()):
        raise CheckpointError(f"{checkpoint.path}: expected finite embeddings, found NaN or Inf")
    probes = seen.readings.points
    turned = bool(model.frame.is_foreign(probes)[0])
    if turned:
        true = procrustes(true, predicted)
    return Preview(predicted, true, anchor_errors(predicted, true), turned)


def preview_files(asked: TernaryMap, files: Sequence[Path | str]) -> tuple[pd.DataFrame, list[str]]:
    """(table, refused): errors of the previews of files, or of all files in folders.

    Columns `COLUMNS`: mean and largest error, the operation where it is largest, whether the file
    lives in another frame, the off-map score (NaN without a calibration) and whether it is above 1.
    `refused` says why the other files have no row.
    """
    rows, refused = each_file(asked, files, lambda file, c: _row(asked, file, c))
    return pd.DataFrame(rows, columns=list(COLUMNS)), refused


def _row(asked: TernaryMap, file: Path, checkpoint: Checkpoint) -> tuple[object, ...]:
    model = epsilon_vae(asked)
    look_once = look(model, checkpoint, asked.calibration)
    seen = preview_checkpoint(model, checkpoint, look_once)
    worst = int(seen.errors.argmax())
    operation = int(anchor_operations()[worst])
    errors = float(seen.errors.mean()), float(seen.errors[worst])
    return (str(file), *errors, operation, seen.turned, look_once.off_map, look_once.off_map > 1)


def anchor_errors(
    predicted: Float[Tensor, "*#batch anchors dim"], true: Float[Tensor, "*batch anchors dim"]
) -> Float[Tensor, "*batch anchors"]:
    """Poincaré distance between predicted and true anchors.

    A prediction outside the ball is drawn back to just inside; NaN has a NaN error. Raises
    EpsvaeError for true points that are not inside the ball: they have no distance.
    """
    if not (true.norm(dim=-1) < 1).all():
        raise EpsvaeError("true: expected points inside the unit ball, found others")
    return poincare.distance(inside_ball(predicted).expand_as(true), true)


def errors_by_valuation(
    errors: Float[np.ndarray, "n anchors"], runs: np.ndarray, valuations: Int[np.ndarray, "anchors"]
) -> pd.DataFrame:
    """Mean error of the anchors of each valuation; columns valuation, anchors, value, low, high.

    `low` and `high` bound the 95 % interval of a bootstrap over runs; NaN for a single run.
    """
    lines = []
    for v in np.unique(valuations):
        here = valuations == v
        lines.append((int(v), int(here.sum()), *mean_error(errors[:, here].mean(1), runs)))
    return pd.DataFrame(lines, columns=["valuation", "anchors", "value", "low", "high"])


def mean_error(values: Float[np.ndarray, "n"], runs: np.ndarray) -> tuple[float, float, float]:
    """(mean, low, high) over checkpoints; 95 % interval by a bootstrap over runs.

    NaN among the values does not count; NaN where nothing does, and the ends for a single run.
    """
    weights, measure = bootstrap_weights(runs), mean_of(values.astype(float))
    value = float(measure(np.ones((1, len(values))))[0])
    return interval(value, None if weights is None else measure(weights))


def anchor_valuations() -> Int[np.ndarray, "anchors"]:
    """Valuation of each anchor operation, in the order of the embeddings."""
    return operation_valuations()[anchor_operations()].numpy()


def geodesic_disk(
    points: Float[np.ndarray, "n dim"], axes: Float[np.ndarray, "dim 2"]
) -> Float[np.ndarray, "n 2"]:
    """The nearest point of a flat disk through the centre, in hyperbolic distance.

    The plane is spanned by the orthonormal `axes`. In Klein's model, 2 p / (1 + |p|^2), lines are
    straight and the nearest point is the ordinary projection k, which goes back to the Poincaré
    disk as k / (1 + sqrt(1 - |k|^2)). Law: no distance grows. Raises EpsvaeError for points
    that are not inside the ball.
    """
    if not (np.square(points).sum(1) < 1).all():
        raise EpsvaeError("points: expected points inside the unit ball, found others")
    klein = 2 * points / (1 + np.square(points).sum(1, keepdims=True)) @ axes
    rest = (1 - np.square(klein).sum(1, keepdims=True)).clip(0)
    return klein / (1 + np.sqrt(rest))


def pairwise(points: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "n n"]:
    """Poincaré distances among points, 0 between a point and itself."""
    apart = behaviour_distances(points[:, None], points[:, None])
    apart = (apart + apart.T) / 2
    np.fill_diagonal(apart, 0)
    return apart


def neighbours_kept(
    shown: Float[np.ndarray, "n n"], true: Float[np.ndarray, "n n"], k: int = 10
) -> float:
    """Share of each point's k nearest by true distance that are among its k nearest as shown.

    Raises EpsvaeError for NaN and without k other points.
    """
    return float((_nearest(shown, k) & _nearest(true, k)).sum() / (k * len(true)))


def _nearest(apart: Float[np.ndarray, "n n"], k: int) -> Bool[np.ndarray, "n n"]:
    """Which are the k nearest others of each point."""
    if not 0 < k < len(apart):
        raise EpsvaeError(f"k: expected 1 to {len(apart) - 1} neighbours, found {k}")
    if np.isnan(apart).any():
        raise EpsvaeError("distances: expected numbers, found NaN")
    others = np.where(np.eye(len(apart), dtype=bool), np.inf, apart)
    order = np.argsort(others, axis=1, kind="stable")[:, :k]
    near = np.zeros(apart.shape, dtype=bool)
    np.put_along_axis(near, order, True, axis=1)
    return near
