"""New weights without a map: the laws of averages, neighbours and noise."""

import pytest
import torch

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import Architecture
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.uses.mix import add_noise, spherical_average
from epsvae.uses.average import linear_average, nearest

SMALL = Architecture(encoder_widths=(6,), latent_dim=4, decoder_widths=(5,), projection_hidden=4)
LAYOUT = all_layout(SMALL)


@pytest.fixture
def pair():
    """Two batches of three networks; biases of b at zero, max radii 0.9 and 0.95."""
    generator = torch.Generator().manual_seed(0)
    a, b = (torch.randn(3, LAYOUT.n_weights, generator=generator) for _ in range(2))
    b[:, LAYOUT.slices["encoder_A.encoder.0.bias"]] = 0
    a[:, -1], b[:, -1] = 0.9, 0.95
    return a, b


AVERAGES = {
    "linear": linear_average,
    "spherical": lambda a, b, share: spherical_average(a, b, SMALL, share),
}


@pytest.mark.parametrize("name", AVERAGES)
def test_averages_go_from_one_to_the_other(pair, name):
    a, b = pair
    average = AVERAGES[name]
    torch.testing.assert_close(average(a, b, 0.0), a, atol=1e-5, rtol=0)
    torch.testing.assert_close(average(a, b, 1.0), b, atol=1e-5, rtol=0)
    torch.testing.assert_close(average(a, a, 0.3), a, atol=1e-6, rtol=0)
    torch.testing.assert_close(average(a, b, 0.3), average(b, a, 0.7), atol=1e-5, rtol=0)
    assert average(a[0], b[0], 0.5).shape == a[0].shape


@pytest.mark.parametrize("name", AVERAGES)
def test_each_row_may_have_its_own_share(pair, name):
    a, b = pair
    shares = torch.tensor([[0.0], [0.4], [1.0]])
    together = AVERAGES[name](a, b, shares)
    alone = [AVERAGES[name](a[i], b[i], float(shares[i])) for i in range(3)]
    torch.testing.assert_close(together, torch.stack(alone), atol=1e-5, rtol=0)


def test_spherical_averages_keep_norms_where_linear_ones_shrink(pair):
    a, b = pair
    where = LAYOUT.slices["encoder_A.fc_mu.weight"]
    a, b = a.clone(), b.clone()
    for x in (a, b):
        x[:, where] = torch.nn.functional.normalize(x[:, where], dim=-1)
    norms = spherical_average(a, b, SMALL)[:, where].norm(dim=-1)
    torch.testing.assert_close(norms, torch.ones(3), atol=1e-5, rtol=0)
    assert (linear_average(a, b)[:, where].norm(dim=-1) < 0.99).all()


def test_opposite_and_empty_parameters_stay_finite(pair):
    a, _ = pair
    for b in (-a, torch.zeros_like(a)):
        assert spherical_average(a, b, SMALL).isfinite().all()


def test_the_radius_is_averaged_and_gets_no_noise(pair):
    a, b = pair
    assert spherical_average(a, b, SMALL)[0, -1] == pytest.approx(0.925)
    noisy = add_noise(a, SMALL, 0.1, torch.Generator().manual_seed(0))
    assert torch.equal(noisy[:, -1], a[:, -1])


def test_noise_has_the_size_of_each_parameter(pair):
    a, _ = pair
    a = a * torch.tensor([[1.0], [10.0], [0.0]])
    before = a.clone()
    noise = add_noise(a, SMALL, 0.1, torch.Generator().manual_seed(0)) - a
    assert torch.equal(a, before)
    for name, where in LAYOUT.slices.items():
        if name != MAX_RADIUS and where.stop - where.start > 20:
            share = noise[:2, where].norm(dim=-1) / a[:2, where].norm(dim=-1)
            assert (share - 0.1).abs().max() < 0.04, name
    assert not noise[2].any()


def test_nearest():
    known = torch.tensor([[0.0, 0.0], [1.0, 0.0], [5.0, 0.0]])
    z = torch.tensor([[0.9, 0.0], [4.0, 0.0]])
    assert nearest(z, known).tolist() == [[1], [2]]
    assert nearest(z, known, 2).tolist() == [[1, 0], [2, 1]]
    with pytest.raises(EpsvaeError, match="known: expected at least 4 checkpoints, found 3"):
        nearest(z, known, 4)
