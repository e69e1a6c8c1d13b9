"""Barriers: how far a path between two checkpoints sinks below the line between its ends."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from epsvae.bootstrap import interval
from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES, METRICS

BETTER = tuple(metric.sign for metric in METRICS)
"""Sign of each metric's good direction, in the order of `METRIC_NAMES`."""
PATH = ["library", "run_a", "run_b"]
"""Columns that tell paths apart."""
EXACT = "linear"
"""A way whose ends are the checkpoints themselves."""
REPLICATES, SEED = 1000, 20251226


def barrier(
    values: Float[np.ndarray, "shares 3"],
    shares: Float[np.ndarray, "shares"],
    ends: Float[np.ndarray, "2 3"],
) -> Float[np.ndarray, "3"]:
    """How far a path sinks below the straight line between its ends, at worst; 0 if it never does.

    Law: max over shares of good * (line - value), the line going from ends[0] to ends[1], `good`
    being `BETTER`; in the metrics' own units, one number a metric. NaN for a metric that is NaN
    anywhere. Raises EpsvaeError for a path without points.
    """
    if not len(shares):
        raise EpsvaeError("shares: expected at least one point on the path, found none")
    return np.maximum(depth(values, shares, ends).max(0), 0.0)


def depth(
    values: Float[np.ndarray, "shares 3"],
    shares: Float[np.ndarray, "shares"],
    ends: Float[np.ndarray, "2 3"],
) -> Float[np.ndarray, "shares 3"]:
    """How far each point of a path lies below the line; negative where it lies above."""
    line = (1 - shares)[:, None] * ends[0] + shares[:, None] * ends[1]
    below: Float[np.ndarray, "shares 3"] = np.asarray(BETTER) * (line - values)
    return below


def barriers(paths: pd.DataFrame) -> pd.DataFrame:
    """The barrier of every path and way: one row each, with the line between the true ends.

    `paths` has the columns `PATH` and those of `interpolate_checkpoints`. Columns: `PATH`, way, a
    barrier under each metric's name, and `where`, the share at which coverage sinks deepest; NaN
    if one is unknown. Raises EpsvaeError for a path without its ends under weight averaging.
    """
    rows = []
    for key, path in paths.groupby(PATH, sort=False):
        ways = {way: part.sort_values("share") for way, part in path.groupby("way", sort=False)}
        ends = _true_ends(ways.get(EXACT), key)
        for way, part in ways.items():
            shares, values = part["share"].to_numpy(), part[list(METRIC_NAMES)].to_numpy()
            below = depth(values, shares, ends)[:, 0]
            where = np.nan if np.isnan(below).any() else shares[below.argmax()]
            rows.append((*key, way, *barrier(values, shares, ends), where))
    return pd.DataFrame(rows, columns=[*PATH, "way", *METRIC_NAMES, "where"])


def _true_ends(path: pd.DataFrame | None, key: object) -> Float[np.ndarray, "2 3"]:
    found = [] if path is None else path["share"].tolist()
    if path is None or [share for share in found if share in (0.0, 1.0)] != [0.0, 1.0]:
        raise EpsvaeError(
            f"paths: expected {EXACT!r} rows at shares 0 and 1 of {key}, one each, "
            f"found shares {found}"
        )
    return path.loc[path["share"].isin([0.0, 1.0]), list(METRIC_NAMES)].to_numpy()


def interval_over_pairs(values: Float[np.ndarray, "a b"]) -> tuple[float, float, float]:
    """(mean, low, high) over all pairs of runs of two groups: 95 %, both groups resampled.

    Pairs that share a run are not independent, so runs are drawn, not pairs (pigeonhole bootstrap;
    Owen, 2007). NaN ends where a group has one run, NaN throughout where a pair is NaN. Raises
    EpsvaeError for no pairs.
    """
    if not values.size:
        raise EpsvaeError(f"values: expected at least one pair of runs, found shape {values.shape}")
    rng = np.random.default_rng(SEED)
    if min(values.shape) < 2:
        return interval(float(values.mean()), None)
    left, right = (rng.multinomial(n, [1 / n] * n, REPLICATES) / n for n in values.shape)
    return interval(float(values.mean()), np.einsum("ra,ab,rb->r", left, values, right))


def over_pairs(frame: pd.DataFrame, column: str) -> tuple[float, float, float]:
    """`interval_over_pairs` of a column, one row of the frame for each pair of runs.

    A pair without a row is NaN. Raises EpsvaeError for no pairs and for one that comes twice.
    """
    if (twice := frame.duplicated(["run_a", "run_b"])).any():
        raise EpsvaeError(f"frame: expected one row a pair of runs, found {twice.sum()} more")
    return interval_over_pairs(
        frame.pivot(index="run_a", columns="run_b", values=column).to_numpy()
    )
