"""Scores of embeddings that no rotation of the space changes.

Another base has its own coordinates, arbitrary up to a rotation about the origin that no metric
sees: there a cosine of coordinates says nothing, and these do.
"""

from functools import cache

import numpy as np
import torch
from jaxtyping import Float, Int
from scipy.stats import rankdata
from torch import Tensor

from epsvae.subjects.ternary import poincare
from epsvae.subjects.ternary.map.ranges import inside_ball

N_PAIRS = 4096
"""Pairs of anchors whose distances are ranked."""
PAIR_SEED = 20251226
CHUNK = 64
"""Checkpoints at a time."""
TINY = 1e-12

Points = Float[Tensor, "n anchors dim"]
PerCheckpoint = dict[str, Float[np.ndarray, "n"]]


def rotation_free(
    predicted: Float[np.ndarray, "n anchors dim"], true: Float[np.ndarray, "n anchors dim"]
) -> PerCheckpoint:
    """Scores of each checkpoint, 1 where a rotation or mirroring makes the prediction perfect.

    procrustes_cosine: cosine after the best orthogonal map (Schönemann, 1966), in [0, 1].
    cka: linear centred kernel alignment (Kornblith et al., 2019), in [0, 1].
    distance_spearman: rank correlation of Poincaré distances over `N_PAIRS` fixed pairs of anchors,
    in [-1, 1]; points outside the ball are moved inside first (`inside_ball`).
    """
    parts = []
    for start in range(0, len(true), CHUNK):
        rows = slice(start, start + CHUNK)
        a, b = (torch.from_numpy(np.array(x[rows], dtype=np.float32)) for x in (predicted, true))
        parts.append(
            {
                "procrustes_cosine": _procrustes_cosine(a, b).numpy(),
                "cka": _cka(a, b).numpy(),
                "distance_spearman": _rank_correlation(_distances(a), _distances(b)),
            }
        )
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _procrustes_cosine(a: Points, b: Points) -> Float[Tensor, "n"]:
    a, b = a.double(), b.double()
    norms = a.flatten(1).norm(dim=1) * b.flatten(1).norm(dim=1)
    return torch.linalg.svdvals(a.mT @ b).sum(1) / norms.clamp_min(TINY)


def _cka(a: Points, b: Points) -> Float[Tensor, "n"]:
    a, b = (x.double() - x.double().mean(1, keepdim=True) for x in (a, b))
    across, own_a, own_b = (_energy(x.mT @ y) for x, y in ((a, b), (a, a), (b, b)))
    return across / (own_a * own_b).sqrt().clamp_min(TINY)


def _energy(matrices: Float[Tensor, "n rows columns"]) -> Float[Tensor, "n"]:
    return matrices.square().sum((1, 2))


def _distances(points: Points) -> Float[np.ndarray, "n pairs"]:
    inside = inside_ball(points)
    i, j = _pairs(points.shape[1])
    return poincare.distance(inside[:, i], inside[:, j]).numpy()


@cache
def _pairs(n_anchors: int) -> Int[Tensor, "2 pairs"]:
    """Fixed pairs of different anchors; all of them if there are no more than `N_PAIRS`."""
    every = torch.triu_indices(n_anchors, n_anchors, 1)
    order = torch.randperm(every.shape[1], generator=torch.Generator().manual_seed(PAIR_SEED))
    return every[:, order[:N_PAIRS]]


def _rank_correlation(
    a: Float[np.ndarray, "n pairs"], b: Float[np.ndarray, "n pairs"]
) -> Float[np.ndarray, "n"]:
    """Spearman correlation of each row; 0 where all of a side tie."""
    a, b = (ranks - ranks.mean(1, keepdims=True) for ranks in (rankdata(x, axis=1) for x in (a, b)))
    scale = np.sqrt(np.square(a).sum(1) * np.square(b).sum(1))
    return np.divide((a * b).sum(1), scale, out=np.zeros(len(a)), where=scale > 0)
