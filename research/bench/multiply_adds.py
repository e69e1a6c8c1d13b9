"""Counting multiply-adds: the cost of a call that no machine changes."""

from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode


def multiply_adds(call: Callable[[], object]) -> int:
    """Multiply-adds of all matrix products of a call, counted from their shapes while it runs.

    What is done element by element (activations, norms, distances, look-ups, comparisons) is not
    counted: it grows with the same sizes and is a few per cent of a network's forward pass. Only
    products that torch computes are seen.
    """
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops()) // 2
