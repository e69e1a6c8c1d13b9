"""The fixed anchor set: the operations on which a checkpoint's behaviour is written down."""

import torch
from jaxtyping import Int
from torch import Tensor

from epsvae.subjects.ternary import N_OPERATIONS, VALUATION_COUNTS, operation_valuations

N_ANCHORS = 256
ANCHOR_SEED = 20251226
RARE = 6
"""From this valuation on every operation is an anchor: 18 + 6 + 2 + 1 = 27 of them."""


def anchor_counts(n: int = N_ANCHORS) -> tuple[int, ...]:
    """Anchors of each valuation 0 ... 9: all from `RARE` on, the rest by the root of the counts.

    Shares are dealt one by one to the valuation v with the largest sqrt(count_v) / (anchors_v + 1)
    (D'Hondt), starting from one each. Proportional shares would leave three anchors of 256 for
    valuations 4 to 9, the tree's inner nodes. Raises ValueError if `n` is not in [33, 19683].
    """
    counts = [c if v >= RARE else 1 for v, c in enumerate(VALUATION_COUNTS)]
    if not sum(counts) <= n <= N_OPERATIONS:
        raise ValueError(f"n: expected {sum(counts)} to {N_OPERATIONS} anchors, found {n}")
    for _ in range(n - sum(counts)):
        open_ = [v for v, count in enumerate(counts) if count < VALUATION_COUNTS[v]]
        next_ = max(open_, key=lambda v: VALUATION_COUNTS[v] ** 0.5 / (counts[v] + 1))
        counts[next_] += 1
    return tuple(counts)


def anchor_operations(n: int = N_ANCHORS, seed: int = ANCHOR_SEED) -> Int[Tensor, "n"]:
    """Sorted indices of `n` different operations, stratified by valuation; fixed by `seed`."""
    generator = torch.Generator().manual_seed(seed)
    chosen = []
    for v, count in enumerate(anchor_counts(n)):
        candidates = (operation_valuations() == v).nonzero().flatten()
        order = torch.randperm(len(candidates), generator=generator)
        chosen.append(candidates[order[:count]])
    return torch.cat(chosen).sort().values
