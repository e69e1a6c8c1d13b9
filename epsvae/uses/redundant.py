"""Runs that ended where another run ended: candidates for not having been needed."""

from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import EpsvaeError
from epsvae.uses.similar import Places

GAP = 0.05
"""Largest difference of a metric between two runs that count as the same."""
STRETCH = 0.2
"""Share of a run's training that gives the distance its name: what a run moves near its end."""


def run_rows(table: pd.DataFrame) -> dict[str, list[int]]:
    """Rows of each run's checkpoints by epoch; unknown epochs come first, in the table's order."""
    order = table.reset_index(drop=True).sort_values("epoch", kind="stable", na_position="first")
    return {str(run): list(rows.index) for run, rows in order.groupby("run")}


def run_ends(table: pd.DataFrame) -> dict[str, int]:
    """Row of each run's last checkpoint."""
    return {run: rows[-1] for run, rows in run_rows(table).items()}


def last_stretch(
    table: pd.DataFrame, z: Float[Tensor, "n latent"], share: float = STRETCH
) -> float:
    """How far a run moves in the last `share` of its training: median over runs of the distance
    in z. NaN if no run has two checkpoints.

    The stretch starts at the checkpoint nearest to that moment; without epochs, places in the
    table are counted instead.
    """
    epochs = table["epoch"].to_numpy(dtype=float)
    moves = []
    for rows in run_rows(table).values():
        times = epochs[rows] if np.isfinite(epochs[rows]).all() else np.arange(1.0, len(rows) + 1)
        if len(rows) > 1:
            start = int(np.abs(times[:-1] - (1 - share) * times[-1]).argmin())
            moves.append(float((z[rows[-1]] - z[rows[start]]).norm()))
    return float(np.median(moves)) if moves else float("nan")


def redundant_runs(places: Places, distance: float | None = None, gap: float = GAP) -> pd.DataFrame:
    """Pairs of runs by the distance of their ends, nearest first.

    Columns run, other, row, other_row (of the ends), distance, gap (largest difference of a metric)
    and redundant: closer than `distance` in z, by default `last_stretch`, and no
    metric differs by more than `gap`. Empty for a single run. Raises EpsvaeError if the default
    distance is not defined, since no run has two checkpoints.
    """
    columns = ["run", "other", "row", "other_row", "distance", "gap", "redundant"]
    ends = run_ends(places.table)
    pairs = list(combinations(ends, 2))
    if not pairs:
        return pd.DataFrame(columns=columns)
    limit = last_stretch(places.table, places.z) if distance is None else distance
    if np.isnan(limit):
        raise EpsvaeError("distance: expected a number, or runs with two checkpoints; found none")
    a, b = (np.array([ends[pair[side]] for pair in pairs]) for side in (0, 1))
    metrics = places.table[[metric.name for metric in places.metrics]].to_numpy(dtype=float)
    apart = (places.z[a] - places.z[b]).norm(dim=-1).double().numpy()
    gaps = np.abs(metrics[a] - metrics[b]).max(1)
    same = (apart < limit) & (gaps < gap)
    names = np.array(pairs, dtype=object).T
    frame = pd.DataFrame(dict(zip(columns, (*names, a, b, apart, gaps, same), strict=True)))
    return frame.sort_values("distance", kind="stable", ignore_index=True)
