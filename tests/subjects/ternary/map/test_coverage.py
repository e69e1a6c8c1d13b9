"""Coverage on two scales: which reading decides where, and what both give when fitted."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from epsvae.subjects.ternary.map.coverage import EVEN, CoverageReader, fit_coverage, weigh

pytestmark = pytest.mark.numbers

shares = st.floats(0, 1, allow_nan=False, width=32)
logits = st.floats(-20, 20, allow_nan=False, width=32)


@given(shares, logits)
def test_the_result_lies_between_both_readings(share: float, logit: float) -> None:
    other = torch.tensor(logit).sigmoid().item()
    found = weigh(torch.tensor(share), torch.tensor(logit)).item()
    assert min(share, other) - 1e-6 <= found <= max(share, other) + 1e-6


@pytest.mark.parametrize("end", [-0.2, 0.0, 1.0, 1.3])
def test_at_the_ends_the_logit_decides(end: float) -> None:
    logit = torch.linspace(-8, 8, 20)
    assert torch.equal(weigh(torch.full((20,), end), logit), logit.sigmoid())


def test_both_count_the_same_where_the_docstring_says() -> None:
    share = (1 - (1 - 4 * EVEN) ** 0.5) / 2  # c (1 - c) = EVEN
    found = weigh(torch.tensor(share), torch.tensor(0.0))
    assert found.item() == pytest.approx((share + 0.5) / 2, abs=1e-6)


def test_each_reading_counts_where_it_is_precise() -> None:
    """A share and a logit with errors of the same size everywhere, each on its own scale."""
    generator = torch.Generator().manual_seed(0)
    truth = torch.linspace(-7, 7, 1000).sigmoid()
    share = truth + 0.01 * torch.randn(1000, generator=generator)
    logit = truth.logit() + 0.1 * torch.randn(1000, generator=generator)
    found = {"both": weigh(share, logit), "share": share.clamp(0, 1), "logit": logit.sigmoid()}
    small = truth < 0.02
    order = {name: kendalltau(c[small], truth[small]).statistic for name, c in found.items()}
    assert order["both"] > order["share"] + 0.2
    errors = {name: (c - truth).abs().mean() for name, c in found.items()}
    assert errors["both"] < 0.8 * min(errors["share"], errors["logit"])


def test_each_reading_is_fitted_on_its_own_scale() -> None:
    """Features that are linear in the logit, and one that is the share itself."""
    generator = torch.Generator().manual_seed(0)
    ease = torch.empty(200).uniform_(-5, 5, generator=generator)
    coverage = ease.sigmoid()[:, None]
    x = torch.stack([ease, coverage[:, 0], torch.randn(200, generator=generator)], 1)
    train, validation = (x[::2], coverage[::2]), (x[1::2], coverage[1::2])
    reader = CoverageReader(3)
    fit_coverage(reader, train, validation)
    with torch.no_grad():
        x, coverage = validation
        assert torch.allclose(reader.share(x), coverage, atol=1e-2)
        assert torch.allclose(reader.logit(x), coverage.logit(), atol=0.1)


def test_a_constant_coverage_is_read_as_that_constant() -> None:
    x = torch.randn(30, 8, generator=torch.Generator().manual_seed(0))
    ones = torch.ones(30, 1)
    reader = CoverageReader(8)
    fit_coverage(reader, (x, ones), (x, ones))
    with torch.no_grad():
        assert torch.allclose(reader(x), ones, atol=3e-3)
