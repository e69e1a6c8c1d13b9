"""The losses: zero at their optimum, right elsewhere, and independent between stacked runs."""

import math
from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import Normal
from torch.distributions import kl_divergence as kl_oracle

from epsvae.subjects.ternary import (
    all_operations,
    geodesic_loss,
    kl_divergence,
    operation_valuations,
    poincare,
    radial_loss,
    reconstruction_loss,
    target_distance,
    target_radius,
)
from epsvae.subjects.ternary.objectives import radial_weights

pytestmark = pytest.mark.numbers

RUNS, N = 3, 6
INDEX = torch.tensor([[0, 9, 6561, 1, 13122, 5], [2, 3, 6, 9, 27, 81], [7, 19682, 0, 243, 4, 8]])
COUNTS = (13122, 4374, 1458, 486, 162, 54, 18, 6, 2, 1)


def draw(*shape: int, seed: int = 0, scale: float = 1.0) -> Tensor:
    return scale * torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def on_sphere(radius: Tensor, seed: int = 0) -> Tensor:
    """Random directions at the given norms."""
    return torch.nn.functional.normalize(draw(*radius.shape, 16, seed=seed), dim=-1) * (
        radius.unsqueeze(-1)
    )


def one_hot(trits: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(trits.long() + 1, 3).float()


def test_reconstruction_is_zero_at_the_truth() -> None:
    trits = all_operations()[INDEX[0]]
    assert reconstruction_loss(50 * one_hot(trits), trits).item() == pytest.approx(0, abs=1e-6)


def test_reconstruction_sums_over_trits_and_averages_over_operations() -> None:
    trits = all_operations()[INDEX[0]]
    undecided = torch.zeros(N, 9, 3)
    assert reconstruction_loss(undecided, trits).item() == pytest.approx(9 * math.log(3))
    one_wrong = 50 * one_hot(trits)
    one_wrong[2, 4] = 20 * one_hot(-trits[2, 4] if trits[2, 4] else torch.tensor(1.0))
    assert reconstruction_loss(one_wrong, trits).item() == pytest.approx(20 / N, rel=1e-5)


def test_kl_is_zero_at_the_prior_only() -> None:
    zero = torch.zeros(N, 16)
    assert kl_divergence(zero, zero).item() == 0
    for mu, logvar in ((zero + 0.1, zero), (zero, zero + 0.1), (zero, zero - 0.1)):
        assert kl_divergence(mu, logvar).item() > 1e-3


@given(st.integers(0, 1000))
def test_kl_is_that_of_torch(seed: int) -> None:
    mu, logvar = draw(N, 16, seed=seed), draw(N, 16, seed=seed + 1)
    oracle = kl_oracle(Normal(mu, (0.5 * logvar).exp()), Normal(0.0, 1.0)).sum(-1).mean()
    torch.testing.assert_close(kl_divergence(mu, logvar), oracle, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("v", range(9))
def test_geodesic_is_zero_at_the_target_distance(v: int) -> None:
    """Two opposite points of norm r are 4 artanh r apart."""
    norm = math.tanh(3 * math.exp(-v / 3) / 4)
    pair = torch.zeros(2, 16)
    pair[0, 3], pair[1, 3] = norm, -norm
    assert geodesic_loss(pair, torch.tensor([4, 4 + 3**v])).item() == pytest.approx(0, abs=1e-10)
    assert geodesic_loss(0.9 * pair, torch.tensor([4, 4 + 3**v])).item() > 1e-4


def test_geodesic_averages_smooth_l1_over_the_cycle_of_neighbours() -> None:
    index, points = INDEX[0], on_sphere(torch.tensor([0.1, 0.9, 0.5, 0.7, 0.2, 0.94]))
    losses = []
    for k in range(N):
        other = (k + 1) % N
        gap = poincare.distance(points[k], points[other]) - target_distance(index[k], index[other])
        size = abs(gap.item())
        losses.append(0.5 * size**2 if size < 1 else size - 0.5)
    assert max(losses) > 0.5 > min(losses)  # both branches of SmoothL1 take part
    assert geodesic_loss(points, index).item() == pytest.approx(sum(losses) / N, rel=1e-5)


def test_radial_is_zero_at_the_target_radius() -> None:
    index = torch.tensor([3**k for k in range(9)] + [0])
    targets = target_radius(operation_valuations()[index])
    assert radial_loss(on_sphere(targets), index).item() == pytest.approx(0, abs=1e-12)
    assert radial_loss(on_sphere(targets + 0.1), index).item() == pytest.approx(0.01, rel=1e-4)
    assert radial_loss(on_sphere(targets - 0.1), index).item() == pytest.approx(0.01, rel=1e-4)


def test_radial_weights_are_the_inverse_root_of_the_frequency() -> None:
    expected = [math.sqrt(COUNTS[0] / count) for count in COUNTS]
    assert radial_weights().tolist() == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("v", range(1, 10))
def test_radial_weighs_rare_valuations_up(v: int) -> None:
    """One operation of valuation 0 and one of v; an error of 0.1 in either one alone."""
    index = torch.tensor([1, 3**v if v < 9 else 0])
    targets, weight = target_radius(torch.tensor([0, v])), math.sqrt(COUNTS[0] / COUNTS[v])
    for wrong, share in ((0, 1 / (1 + weight)), (1, weight / (1 + weight))):
        radius = targets.clone()
        radius[wrong] += 0.1
        loss = radial_loss(on_sphere(radius), index).item()
        assert loss == pytest.approx(0.01 * share, rel=1e-3)


def test_radial_has_a_finite_gradient_at_the_origin() -> None:
    points = torch.zeros(N, 16, requires_grad=True)
    (gradient,) = torch.autograd.grad(radial_loss(points, INDEX[0]), points)
    assert gradient.isfinite().all()


LOSSES: dict[str, tuple[Callable[..., Tensor], Tensor, Tensor]] = {
    "reconstruction": (reconstruction_loss, draw(RUNS, N, 9, 3), all_operations()[INDEX]),
    "kl": (kl_divergence, draw(RUNS, N, 16), draw(RUNS, N, 16, seed=1)),
    "geodesic": (geodesic_loss, on_sphere(draw(RUNS, N, seed=2).sigmoid()), INDEX),
    "radial": (radial_loss, on_sphere(draw(RUNS, N, seed=2).sigmoid()), INDEX),
}


@pytest.mark.parametrize("name", LOSSES)
def test_stacked_runs_are_independent(name: str) -> None:
    loss, value, other = LOSSES[name]
    together = value.clone().requires_grad_()
    losses = loss(together, other)
    assert losses.shape == (RUNS,)
    (gradient,) = torch.autograd.grad(losses.sum(), together)
    for run in range(RUNS):
        alone = value[run].clone().requires_grad_()
        single = loss(alone, other[run])
        torch.testing.assert_close(losses[run], single, rtol=1e-5, atol=1e-7)
        (own,) = torch.autograd.grad(single, alone)
        assert own.abs().max() > 1e-4
        torch.testing.assert_close(gradient[run], own, rtol=1e-5, atol=1e-7)
