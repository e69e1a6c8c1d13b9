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


def test_there_are_19683_operations_of_nine_trits() -> None:
    assert (N_TRITS, N_OPERATIONS) == (9, 19683)
    assert all_operations().shape == (19683, 9)
    assert all_operations().dtype == torch.float32
    assert set(all_operations().unique().tolist()) == {-1.0, 0.0, 1.0}


def test_index_and_trits_are_inverse_on_every_operation() -> None:
    assert torch.equal(operation_index(all_operations()), torch.arange(N_OPERATIONS))
    assert len(all_operations().unique(dim=0)) == N_OPERATIONS


@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=9, max_size=9))
def test_index_is_the_weighted_sum_of_trits(trits: list[int]) -> None:
    expected = sum((t + 1) * 3**i for i, t in enumerate(trits))
    table = torch.tensor(trits, dtype=torch.float32)
    assert operation_index(table).item() == expected
    assert torch.equal(operation_trits(torch.tensor(expected)), table)


def test_index_and_trits_keep_leading_dimensions() -> None:
    index = torch.tensor([[0, 1, 2], [3, 9841, 19682]])
    assert operation_trits(index).shape == (2, 3, 9)
    assert torch.equal(operation_index(operation_trits(index)), index)


def test_valuation_of_every_index() -> None:
    expected = [val3(n) for n in range(N_OPERATIONS)]
    assert operation_valuations().tolist() == expected
    assert valuation(torch.tensor(0)).item() == 9
    assert valuation(torch.tensor(3**9)).item() == 9


def test_counts_by_valuation() -> None:
    assert tuple(operation_valuations().bincount().tolist()) == COUNTS
    assert VALUATION_COUNTS == COUNTS


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


@pytest.mark.parametrize("v", range(9))
def test_distance_by_valuation(v: int) -> None:
    i, j = torch.tensor([5, 2 * 3**v + 5]), torch.tensor([5 + 3**v, 5])
    assert distance_3adic(i, j).tolist() == pytest.approx([3.0**-v] * 2, rel=1e-6)


@given(indices, near_indices)
def test_target_distance_is_3_exp_of_minus_a_third_of_the_valuation(i: int, j: int) -> None:
    target = target_distance(torch.tensor([i, j]), torch.tensor([j, i]))
    expected = 3 * math.exp(-val3(abs(i - j)) / 3)
    assert target.tolist() == pytest.approx([expected] * 2, rel=1e-6)


@pytest.mark.parametrize("v", range(10))
def test_target_distance_at_every_valuation(v: int) -> None:
    j = 3**v if v < 9 else 0
    target = target_distance(torch.tensor(0), torch.tensor(j)).item()
    assert target == pytest.approx(3 * math.exp(-v / 3), rel=1e-6)


def test_target_radius_falls_evenly_from_rim_to_centre() -> None:
    radius = target_radius(torch.arange(10))
    assert radius[0].item() == pytest.approx(0.85)
    assert radius[9].item() == pytest.approx(0.10)
    torch.testing.assert_close(radius.diff(), torch.full((9,), -0.75 / 9))
