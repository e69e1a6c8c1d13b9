"""The gap between checkpoints and prior, by closed forms."""

import math

import pytest
import torch

from research.prior import prior_gap

N = 40_000


def draws(covariance, seed=0):
    """Points with exactly this covariance and mean 0."""
    points = torch.randn(N, len(covariance), generator=torch.Generator().manual_seed(seed)).double()
    points -= points.mean(0)
    spread = torch.atleast_2d(torch.cov(points.T))
    white = torch.linalg.cholesky(torch.linalg.inv(spread))
    return points @ white @ torch.linalg.cholesky(covariance.double()).T


def test_points_from_the_prior_have_no_gap():
    std = torch.tensor([3.0, 0.5])
    gap = prior_gap(0.6 * std * draws(torch.eye(2)), (0.8 * std).square().log(), std)
    assert gap.kl == pytest.approx(0, abs=1e-6)
    assert gap.kurtosis == pytest.approx(0, abs=0.1)


def test_wrong_spread_and_mean_cost_what_the_formula_says():
    std = torch.ones(1)
    gap = prior_gap(2 * draws(torch.eye(1)) + 1, torch.tensor([-40.0]), std)
    assert gap.marginals == pytest.approx(0.5 * (1 + 4 - 1 - math.log(4)), abs=1e-4)
    assert gap.dependence == pytest.approx(0, abs=1e-6)


def test_dependence_is_the_total_correlation():
    covariance = torch.tensor([[1.0, 0.8], [0.8, 1.0]])
    gap = prior_gap(draws(covariance), torch.full((2,), -40.0), torch.ones(2))
    assert gap.marginals == pytest.approx(0, abs=1e-4)
    assert gap.dependence == pytest.approx(-0.5 * math.log(1 - 0.8**2), abs=1e-4)


def test_long_tails_show_in_the_kurtosis():
    laplace = torch.distributions.Laplace(0.0, 2**-0.5)
    torch.manual_seed(0)
    gap = prior_gap(laplace.sample((N, 3)), torch.full((3,), -40.0), torch.ones(3))
    assert gap.kurtosis == pytest.approx(3, abs=0.7)
