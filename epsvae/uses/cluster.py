"""Clusters of checkpoints, and what they agree with: behaviour, recipes, themselves.

Agreement is adjusted mutual information (Vinh, Epps and Bailey, 2010): 0 for what chance gives, 1
for the same partition; it need not compare partitions with the same number of parts.
"""

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import pandas as pd
from jaxtyping import Float, Int
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.metrics import adjusted_mutual_info_score
from torch import Tensor

from epsvae.bootstrap import bootstrap_weights, interval
from epsvae.errors import EpsvaeError

STARTS = 10
"""Random starts of KMeans, of which the best is kept."""
REPLICATES = 200
"""Resamplings of the runs for an interval."""
LOOSE = -1
"""Label of checkpoints that a density method leaves without a cluster."""

Labels = Int[np.ndarray, "n"]
Points = Float[np.ndarray, "n dim"] | Float[Tensor, "n dim"]


def coordinates(distances: Float[np.ndarray, "n n"], dim: int = 64) -> Float[np.ndarray, "n d"]:
    """Points whose Euclidean distances come close to the given ones: classical scaling.

    Source: Torgerson (1952). Negative eigenvalues, where the distances are not Euclidean, are left
    out; d is `dim` or n, if that is smaller. Raises EpsvaeError for distances that are not finite.
    """
    if not len(_finite(distances, "distances")):
        return np.zeros((0, 0))
    centred = np.square(distances) - np.square(distances).mean(0)
    centred -= centred.mean(1, keepdims=True)
    values, vectors = np.linalg.eigh(-(centred + centred.T) / 4)
    return vectors[:, ::-1][:, :dim] * np.sqrt(values[::-1][:dim].clip(0))


def cluster_by_means(z: Points, k: int, seed: int = 0, starts: int = STARTS) -> Labels:
    """KMeans labels 0 ... k - 1.

    Raises EpsvaeError for coordinates that are not finite, for fewer than k different points and
    for k below 1.
    """
    points = _finite(z)
    if k < 1:
        raise EpsvaeError(f"k: expected 1 or more clusters, found {k}")
    if (found := len(np.unique(points, axis=0))) < k:
        raise EpsvaeError(f"z: expected at least {k} different checkpoints, found {found}")
    return KMeans(k, n_init=starts, random_state=seed).fit_predict(points).astype(np.int64)


def cluster_by_density(z: Points, smallest: int, distances: bool = False) -> Labels:
    """HDBSCAN labels (Campello, Moulavi and Sander, 2013); `LOOSE` where there is no dense cluster.

    `smallest` is the size of the smallest cluster, at least 2; no number of clusters is given.
    ``distances=True`` if z is a matrix of distances. Fewer than `smallest` points are all loose,
    and so are copies of one point: nothing is less dense.
    """
    points = _finite(z)
    if smallest < 2:
        raise EpsvaeError(f"smallest: expected 2 or more, found {smallest}")
    if len(points) < smallest:
        return np.full(len(points), LOOSE)
    metric = "precomputed" if distances else "euclidean"
    method = HDBSCAN(min_cluster_size=smallest, min_samples=1, metric=metric, copy=True)
    return method.fit_predict((points + points.T) / 2 if distances else points).astype(np.int64)


def _finite(z: Points, name: str = "z") -> Float[np.ndarray, "n dim"]:
    points = np.asarray(z, dtype=float)
    if not np.isfinite(points).all():
        raise EpsvaeError(f"{name}: expected finite numbers, found NaN or infinity")
    return points


def agreement(a: np.ndarray, b: np.ndarray) -> float:
    """Adjusted mutual information of two labellings of the same checkpoints, about 0 to 1."""
    return float(adjusted_mutual_info_score(a, b))


def agreement_interval(
    a: np.ndarray, b: np.ndarray, runs: np.ndarray
) -> tuple[float, float, float]:
    """(value, low, high): 95 % interval over resampled runs; NaN for a single run."""
    counts = bootstrap_weights(runs)
    if counts is None:
        return interval(agreement(a, b), None)
    drawn = (np.repeat(np.arange(len(a)), n.astype(int)) for n in counts[:REPLICATES])
    return interval(agreement(a, b), np.array([agreement(a[rows], b[rows]) for rows in drawn]))


def stability(
    z: Points, runs: np.ndarray, k: int, repeats: int = 5, seed: int = 0, starts: int = STARTS
) -> pd.DataFrame:
    """Does clustering again give the same? Columns kind (seeds, halves) and agreement.

    *seeds*: each pair of `repeats` labellings that differ in the random start alone. *halves*: two
    KMeans fitted on a random half of the runs each, both applied to every checkpoint
    (Ben-Hur, Elisseeff and Guyon, 2002); absent for a single run.
    """
    points = _finite(z)
    labels = [cluster_by_means(points, k, seed + i, starts) for i in range(repeats)]
    lines = [("seeds", agreement(a, b)) for a, b in combinations(labels, 2)]
    rng = np.random.default_rng(seed)
    for first in _halves(runs, repeats, rng):
        fits = [_fit(points[rows], k, seed, starts) for rows in (first, ~first)]
        lines.append(("halves", agreement(*(fit.predict(points) for fit in fits))))
    return pd.DataFrame(lines, columns=["kind", "agreement"])


def _halves(runs: np.ndarray, repeats: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Masks of the checkpoints in a random half of the runs."""
    names = np.unique(runs)
    for _ in range(repeats if len(names) > 1 else 0):
        yield np.isin(runs, rng.permutation(names)[: len(names) // 2])


def _fit(points: Float[np.ndarray, "n dim"], k: int, seed: int, starts: int) -> KMeans:
    if len(points) < k:
        raise EpsvaeError(f"runs: expected {k} checkpoints in each half, found {len(points)}")
    return KMeans(k, n_init=starts, random_state=seed).fit(points)
