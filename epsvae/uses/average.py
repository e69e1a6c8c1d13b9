"""What needs no map: the average of two checkpoints, and the nearest known one."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from epsvae.errors import EpsvaeError

Share = float | Float[Tensor, "*#batch 1"]
"""Share of the second checkpoint: 0 gives the first one, 1 the second."""


def linear_average(
    a: Float[Tensor, "*batch weights"], b: Float[Tensor, "*batch weights"], share: Share = 0.5
) -> Float[Tensor, "*batch weights"]:
    """(1 - share) a + share b (model averaging; Utans, 1996)."""
    return (1 - share) * a + share * b


def nearest(
    z: Float[Tensor, "n latent"], known: Float[Tensor, "m latent"], k: int = 1
) -> Int[Tensor, "n k"]:
    """Rows of the k known checkpoints that are nearest in z, nearest first.

    Of equally near ones any may come first. Raises EpsvaeError if fewer than k are known, or a z is
    not finite.
    """
    if not (z.isfinite().all() and known.isfinite().all()):
        raise EpsvaeError("nearest: expected finite z, found NaN or infinity")
    if len(known) < k:
        raise EpsvaeError(f"known: expected at least {k} checkpoints, found {len(known)}")
    return torch.cdist(z, known).topk(k, largest=False).indices


def refuse_infinite(z: Float[Tensor, "n latent"], name: str = "z") -> None:
    """Raise EpsvaeError, which names the rows, for points that are not finite."""
    if not z.isfinite().all():
        bad = (~z.isfinite().all(-1)).nonzero().flatten().tolist()
        raise EpsvaeError(
            f"{name}: expected finite coordinates, found NaN or infinity in rows {bad}"
        )
