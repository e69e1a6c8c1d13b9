"""Ternary operations and the 3-adic arithmetic that orders them into a tree.

An operation is a truth table of nine trits in {-1, 0, 1}; there are 3^9 = 19,683 of them.
Operation n has the balanced-ternary digits t_0 ... t_8 with n = sum_i (t_i + 1) * 3^i.
"""

from functools import cache

import torch
from jaxtyping import Float, Int
from torch import Tensor

N_TRITS = 9
N_OPERATIONS = 3**N_TRITS
MAX_VALUATION = 9
VALUATION_COUNTS = (13122, 4374, 1458, 486, 162, 54, 18, 6, 2, 1)
"""How many operations have valuation 0, 1, ..., 9."""


def operation_index(trits: Float[Tensor, "*batch 9"]) -> Int[Tensor, "*batch"]:
    """Index n = sum_i (t_i + 1) * 3^i of each truth table, in [0, 19682]."""
    powers = 3 ** torch.arange(N_TRITS)
    return ((trits.long() + 1) * powers).sum(-1)


def operation_trits(index: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch 9"]:
    """Truth table of each operation index; the inverse of `operation_index`."""
    powers = 3 ** torch.arange(N_TRITS)
    return (index.unsqueeze(-1) // powers % 3 - 1).float()


@cache
def all_operations() -> Float[Tensor, "19683 9"]:
    """Every operation in the order of its index. Shared: do not modify."""
    return operation_trits(torch.arange(N_OPERATIONS))


def valuation(n: Int[Tensor, "*batch"]) -> Int[Tensor, "*batch"]:
    """3-adic valuation v(n): the largest k with 3^k | n, and v(0) := 9.

    Law: v(a + b) >= min(v(a), v(b)), with equality where v(a) != v(b).
    """
    result = torch.zeros_like(n)
    for k in range(1, MAX_VALUATION + 1):
        result += n % 3**k == 0
    return result


@cache
def operation_valuations() -> Int[Tensor, "19683"]:
    """Valuation of every operation's index, in [0, 9]. Shared: do not modify."""
    return valuation(torch.arange(N_OPERATIONS))


def distance_3adic(i: Int[Tensor, "*batch"], j: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """3-adic distance d(i, j) = 3^(-v(|i - j|)), and d(i, i) = 0.

    Law: an ultrametric, d(i, k) <= max(d(i, j), d(j, k)).
    """
    gap = (i - j).abs()
    return torch.where(gap == 0, 0.0, 3.0 ** (-valuation(gap).float()))


def target_distance(i: Int[Tensor, "*batch"], j: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Poincaré distance that the runs aim for: 3 * exp(-v(|i - j|) / 3).

    Large (3.0) for operations that part at the root, 0.15 for an operation and itself. A look-up,
    because every training step asks for it.
    """
    return _target_by_gap()[(i - j).abs()]


@cache
def _target_by_gap() -> Float[Tensor, "19683"]:
    return 3.0 * torch.exp(-operation_valuations().float() / 3.0)


def target_radius(v: Int[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """Euclidean norm that the runs aim for: 0.85 - 0.75 * v / 9 (the root at the centre)."""
    return 0.85 - 0.75 * v.float() / MAX_VALUATION
