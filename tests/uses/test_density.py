import pytest
import torch

from epsvae.errors import EpsvaeError
from epsvae.uses import fit_density


def ring(n=300, latent=5, seed=0):
    """Points on a noisy circle of radius 3 in the first two coordinates."""
    generator = torch.Generator().manual_seed(seed)
    angle = 6.2832 * torch.rand(n, generator=generator)
    z = 0.05 * torch.randn(n, latent, generator=generator)
    z[:, 0] += 3 * angle.cos()
    z[:, 1] += 3 * angle.sin()
    return z


def test_samples_stay_where_the_points_are():
    """On a ring one normal distribution fills the hole; the density does not."""
    drawn = fit_density(ring()).sample(500, torch.Generator().manual_seed(1))
    assert drawn.shape == (500, 5)
    assert drawn.dtype == torch.float32
    radius = drawn[:, :2].norm(dim=1)
    assert (radius - 3).abs().quantile(0.95) < 1
    assert drawn[:, 2:].std() < 0.1


def test_new_points_are_likelier_than_under_one_normal_distribution():
    known, new = ring(), ring(seed=1)
    normal = torch.distributions.MultivariateNormal(known.mean(0), known.T.cov())
    assert fit_density(known).log_prob(new).mean() > normal.log_prob(new).mean()


def test_the_density_has_mass_one():
    """In one dimension, so that a sum over a grid is the integral."""
    z = torch.tensor([[0.0], [0.3], [2.0], [2.1]])
    grid = torch.linspace(-30, 30, 60001)[:, None]
    mass = fit_density(z).log_prob(grid).exp().sum() * 0.001
    assert float(mass) == pytest.approx(1, abs=1e-3)


def test_a_hill_of_two_points_is_known():
    """Two neighbours at distance 2: variance (0 + 4) / 2, shared by both hills."""
    density = fit_density(torch.tensor([[0.0], [2.0]]), width=1.0)
    torch.testing.assert_close(
        density.factors.square().flatten(), torch.full((2,), 2.0).double(), atol=1e-5, rtol=0
    )


def test_sampling_repeats_with_the_generator():
    density = fit_density(ring())
    one, two, other = (density.sample(4, torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_ranks_and_gradients():
    density = fit_density(ring(60))
    z = torch.zeros(2, 3, 5, requires_grad=True)
    found = density.log_prob(z)
    assert found.shape == (2, 3)
    found.sum().backward()
    assert z.grad.isfinite().all()
    assert density.log_prob(z[0, 0]).shape == ()
    assert density.sample(0, torch.Generator()).shape == (0, 5)


def test_duplicates_are_allowed():
    density = fit_density(torch.ones(4, 3))
    drawn = density.sample(3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(drawn, torch.ones(3, 3), atol=1e-4, rtol=0)
    assert density.log_prob(drawn).isfinite().all()


@pytest.mark.parametrize(
    ("z", "message"),
    [
        (torch.zeros(0, 3), "expected at least 2 checkpoints to fit a density, found 0"),
        (torch.zeros(1, 3), "expected at least 2 checkpoints to fit a density, found 1"),
        (torch.tensor([[0.0], [torch.nan]]), "found NaN or infinity"),
    ],
)
def test_refusals(z, message):
    with pytest.raises(EpsvaeError, match=message):
        fit_density(z)
