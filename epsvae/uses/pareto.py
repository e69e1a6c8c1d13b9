"""Which points no other point beats in everything, and how much of the space such a front takes."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import moocore
import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsvae.bootstrap import bootstrap_weights, interval
from epsvae.errors import EpsvaeError
from epsvae.map.calibrated import CalibratedMap
from epsvae.map.predict import predict_files

Points = Float[np.ndarray, "n k"] | Float[Tensor, "n k"]


class Hypervolume(NamedTuple):
    """The measure of what a front dominates, with its 95 % interval."""

    value: float
    low: float
    high: float


def find_pareto_efficient(costs: Points) -> Bool[Tensor, "n"]:
    """Mask of the points that no other point dominates; every column is minimised.

    Negate what is to be maximised. Of equal points all are kept. Takes a tensor or an array of
    any number of objectives; a million points of up to five take a second or two. Raises
    EpsvaeError for NaN and for anything that is not a matrix.
    """
    points = _matrix(costs)
    if not len(points):
        return torch.zeros(0, dtype=torch.bool)
    return torch.from_numpy(moocore.is_nondominated(points, keep_weakly=True))


def front_layers(costs: Points, n: int) -> Bool[Tensor, "m"]:
    """Mask of the first fronts, taken off one after the other until they hold at least n points.

    Every column is minimised. All points if there are no more than n.
    """
    points = _matrix(costs)
    if len(points) <= n:
        return torch.ones(len(points), dtype=torch.bool)
    ranks = moocore.pareto_rank(points)
    enough = np.searchsorted(np.cumsum(np.bincount(ranks)), n)
    return torch.from_numpy(ranks <= enough)


def hypervolume(costs: Points, reference: Sequence[float]) -> float:
    """Measure of what the points dominate below a reference point (Zitzler & Thiele, 1999).

    Every column is minimised; points that are not below the reference in all of them count
    nothing, so that no points have 0. Raises EpsvaeError for NaN and for a reference of another
    dimension.
    """
    points = _matrix(costs)
    if points.shape[1] != len(reference):
        raise EpsvaeError(
            f"reference: expected {points.shape[1]} numbers, one an objective, "
            f"found {len(reference)}"
        )
    if np.isnan(reference).any():
        raise EpsvaeError(f"reference: expected numbers, found {list(reference)}")
    return float(moocore.hypervolume(points, ref=list(reference))) if len(points) else 0.0


def hypervolume_interval(
    costs: Points, reference: Sequence[float], groups: np.ndarray | None = None
) -> Hypervolume:
    """The hypervolume, and a bootstrap over groups: runs, or else single points.

    A front of some of the points never beats that of all, so the interval hangs below the value.
    It says how much a front owes to a few lucky groups. NaN ends with a single group.
    """
    points = _matrix(costs)
    value = hypervolume(points, reference)
    groups = np.arange(len(points)) if groups is None else np.asarray(groups)
    if len(groups) != len(points):
        raise EpsvaeError(
            f"groups: expected one for each of {len(points)} points, found {len(groups)}"
        )
    weights = bootstrap_weights(groups) if len(points) else None
    if weights is None:
        return Hypervolume(*interval(value, None))
    replicates = [hypervolume(points[row > 0], reference) for row in weights]
    return Hypervolume(*interval(value, np.array(replicates)))


def compare_fronts(
    sets: Mapping[str, tuple[Points, np.ndarray | None]], reference: Sequence[float]
) -> pd.DataFrame:
    """Fronts of several sets of points, given as costs with the groups that a bootstrap draws.

    A row a set, by its name: points, front (points on it), value, low, high (the hypervolume and
    its interval) and ratio, of the value to the first set's. No sets give no rows.
    """
    lines = []
    for costs, groups in sets.values():
        on_front = int(find_pareto_efficient(costs).sum())
        lines.append((len(costs), on_front, *hypervolume_interval(costs, reference, groups)))
    columns = ["points", "front", *Hypervolume._fields]
    table = pd.DataFrame(lines, index=list(sets), columns=columns)
    return table.assign(ratio=table["value"] / table["value"].head(1).sum())


def predicted_front(
    asked: CalibratedMap,
    files: Sequence[Path | str],
    objectives: Sequence[str] | None = None,
) -> pd.DataFrame:
    """The checkpoints among files and folders that nothing beats, as a map predicts it.

    Gives `front_rows` of `predict_files`; `objectives` are by default all metrics, each in its own
    direction. Raises EpsvaeError, with what each file was refused for,
    where no checkpoint on the map is left.
    """
    if objectives is None:
        objectives = [("-" if m.sign < 0 else "") + m.name for m in asked.metrics]
    found = predict_files(asked, files)
    if found.table.empty and found.refused:
        raise EpsvaeError("\n".join(found.refused))
    return front_rows(found.table, objectives)


def front_rows(table: pd.DataFrame, objectives: Sequence[str]) -> pd.DataFrame:
    """The rows that no other row beats in all `objectives`, which are columns to be large;
    ``"-loss"`` counts the other way round.

    Rows with a true `flag`, if there is this column, are off the map and do not count. Raises
    EpsvaeError where no row is left, for NaN, and for objectives that the table does not have.
    """
    rows = table[~table["flag"].astype(bool)] if "flag" in table else table
    if rows.empty:
        raise EpsvaeError("table: expected checkpoints on the map, found none")
    signs = [1 if name.startswith("-") else -1 for name in objectives]
    names = [name.removeprefix("-") for name in objectives]
    if not names or not set(names) <= set(rows):
        raise EpsvaeError(f"objectives: expected columns of the table, found {names}")
    costs = rows[names].to_numpy(dtype=float) * signs
    return rows[find_pareto_efficient(costs).numpy()].reset_index(drop=True)


def _matrix(costs: np.ndarray | Tensor) -> Float[np.ndarray, "n k"]:
    points = np.asarray(torch.as_tensor(costs).detach(), dtype=float)
    if points.ndim != 2 or not points.shape[1]:
        raise EpsvaeError(f"costs: expected (points, objectives), found shape {points.shape}")
    if np.isnan(points).any():
        raise EpsvaeError("costs: expected numbers, found NaN")
    return points
