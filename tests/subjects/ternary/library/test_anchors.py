"""The anchor set: fixed, stratified, with every rare operation."""

import pytest
import torch

from epsvae.subjects.ternary import VALUATION_COUNTS, operation_valuations
from epsvae.subjects.ternary.library.anchors import anchor_counts, anchor_operations


def test_anchors_are_fixed_and_stratified():
    anchors = anchor_operations()
    assert torch.equal(anchors, anchor_operations())
    assert anchors.shape == (256,)
    assert torch.equal(anchors, anchors.unique())
    counts = operation_valuations()[anchors].bincount(minlength=10)
    assert counts.tolist() == [101, 58, 34, 19, 11, 6, 18, 6, 2, 1]
    assert tuple(counts.tolist()) == anchor_counts()
    assert not torch.equal(anchors, anchor_operations(seed=1))


@pytest.mark.parametrize("n", [33, 100, 1000, 19_683])
def test_any_number_of_anchors(n):
    counts = anchor_counts(n)
    assert sum(counts) == n
    assert all(1 <= c <= most for c, most in zip(counts, VALUATION_COUNTS, strict=True))
    assert counts[6:] == VALUATION_COUNTS[6:]


@pytest.mark.parametrize("n", [0, 32, 19_684])
def test_impossible_numbers_of_anchors(n):
    with pytest.raises(ValueError, match=f"expected 33 to 19683 anchors, found {n}"):
        anchor_operations(n)
