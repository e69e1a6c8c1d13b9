"""Which points no other point beats in everything."""

import moocore
import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsvae.errors import EpsvaeError


def find_pareto_efficient(costs: Float[Tensor, "n k"]) -> Bool[Tensor, "n"]:
    """Mask of the points that no other point dominates; every column is minimised.

    Negate what is to be maximised. Of equal points all are kept. Takes a tensor or an array of
    any number of objectives. Raises EpsvaeError for NaN and for anything that is not a matrix.
    """
    points = np.asarray(torch.as_tensor(costs).detach(), dtype=float)
    if points.ndim != 2:
        raise EpsvaeError(f"costs: expected (points, objectives), found shape {points.shape}")
    if np.isnan(points).any():
        raise EpsvaeError("costs: expected numbers, found NaN")
    if not len(points):
        return torch.zeros(0, dtype=torch.bool)
    return torch.from_numpy(moocore.is_nondominated(points, keep_weakly=True))
