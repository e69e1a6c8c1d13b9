"""Ternary operations: the numbering, the 3-adic laws, the targets of the runs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsvae.subjects.ternary import (
    N_OPERATIONS,
    N_TRITS,
    VALUATION_COUNTS,
    all_operations,
    distance_3adic,
    operation_index,
    operation_trits,
    operation_valuations,
    target_distance,
    target_radius,
    valuation,
)

COUNTS = (13122, 4374, 1458, 486, 162, 54, 18, 6, 2, 1)
indices = st.integers(0, N_OPERATIONS - 1)
near_indices = st.builds(  # gaps of every valuation, which uniform indices nearly never have
    lambda i, k, m: (i + m * 3**k) % N_OPERATIONS, indices, st.integers(0, 9), st.integers(0, 2)
)


def val3(n: int) -> int:
    """Valuation by repeated division."""
    if n == 0:
        return 9
    k = 0
    while n % 3 == 0:
        n, k = n // 3, k + 1
    return k


def test_index_and_trits_are_inverse_on_every_operation() -> None:
    trits = all_operations()
    assert (N_TRITS, N_OPERATIONS) == (9, 19683)
    assert trits.shape == (19683, 9) and trits.dtype == torch.float32
    assert torch.equal(operation_index(trits), torch.arange(N_OPERATIONS))
    index = torch.tensor([[0, 1, 2], [3, 9841, 19682]])
    assert torch.equal(operation_index(operation_trits(index)), index)


@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=9, max_size=9))
def test_index_is_the_weighted_sum_of_trits(trits: list[int]) -> None:
    expected = sum((t + 1) * 3**i for i, t in enumerate(trits))
    table = torch.tensor(trits, dtype=torch.float32)
    assert operation_index(table).item() == expected
    assert torch.equal(operation_trits(torch.tensor(expected)), table)


def test_valuation_of_every_index() -> None:
    assert operation_valuations().tolist() == [val3(n) for n in range(N_OPERATIONS)]
    assert tuple(operation_valuations().bincount().tolist()) == COUNTS == VALUATION_COUNTS
    assert valuation(torch.tensor([0, 3**9])).tolist() == [9, 9]


@given(near_indices, near_indices)
def test_valuation_of_a_sum_is_at_least_the_smaller_one(a: int, b: int) -> None:
    va, vb, vsum = valuation(torch.tensor([a, b, a + b])).tolist()
    assert vsum >= min(va, vb)
    if va != vb:
        assert vsum == min(va, vb)


@given(near_indices, st.data())
def test_distance_is_an_ultrametric(i: int, data: st.DataObject) -> None:
    shift = st.builds(lambda k, m: m * 3**k, st.integers(0, 8), st.integers(0, 2))
    j = (i + data.draw(shift)) % N_OPERATIONS
    k = (j + data.draw(shift)) % N_OPERATIONS
    ij, jk, ik, ji = distance_3adic(torch.tensor([i, j, i, j]), torch.tensor([j, k, k, i])).tolist()
    assert ij == ji
    assert (ij == 0) == (i == j)
    assert ik <= max(ij, jk)
    if ij != jk:  # every triangle is isosceles, with the two longest sides equal
        assert ik == max(ij, jk)


@pytest.mark.parametrize("v", range(10))
def test_distances_at_every_valuation(v: int) -> None:
    other = 5 + 3**v if v < 9 else 5
    i, j = torch.tensor([5, other]), torch.tensor([other, 5])
    expected = 3.0**-v if v < 9 else 0.0
    assert distance_3adic(i, j).tolist() == pytest.approx([expected] * 2, rel=1e-6)
    assert target_distance(i, j).tolist() == pytest.approx([3 * math.exp(-v / 3)] * 2, rel=1e-6)


def test_target_radius_falls_evenly_from_rim_to_centre() -> None:
    radius = target_radius(torch.arange(10))
    assert radius[0].item() == pytest.approx(0.85)
    assert radius[9].item() == pytest.approx(0.10)
    torch.testing.assert_close(radius.diff(), torch.full((9,), -0.75 / 9))
