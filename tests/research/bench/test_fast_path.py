"""Reading a batch fast gives what reading it plainly gives."""

import pytest
import torch
import torch.nn.functional as F

from epsvae.subjects.ternary import decode, encode, poincare, project
from epsvae.subjects.ternary.library.layout import all_layout
from epsvae.subjects.ternary.map import model as model_module
from epsvae.subjects.ternary.map import sweep as sweep_module
from epsvae.subjects.ternary.map.data import all_weights
from epsvae.subjects.ternary.map.sweep import Readings, pairwise_distances
from research.bench.ways import closed_form_map


@pytest.fixture(scope="module")
def model(data):
    return closed_form_map(data, 24).predictor


@pytest.fixture(scope="module")
def weights(data):
    return all_weights(data.train)


def plain_readings(model, weights):
    """The whole stack at once, every step written down."""
    architecture, sweep = model.config.architecture, model.sweep
    state = all_layout(architecture).unflatten(weights)
    mu = encode(state, architecture, sweep.probes)
    points = project(state, architecture, mu, weights[:, -1].view(-1, 1, 1))
    logits = decode(state, architecture, mu)
    right = F.one_hot(sweep.wanted.long() + 1, 3).bool()
    true = (logits * right).sum(-1)
    margins = (true - logits.masked_fill(right, -torch.inf).amax(-1)).amin(-1)
    return Readings(model.frame(points), margins)


def plain_metric_features(readings):
    """Distances pair by pair, spreads by their definition."""
    i, j = torch.triu_indices(readings.points.shape[1], readings.points.shape[1], 1)
    distances = poincare.distance(readings.points[:, i], readings.points[:, j])
    radii = poincare.radius(readings.points)
    plain = [(v - v.mean(1, keepdim=True)) for v in (distances, radii)]
    return [v / (v.square().mean(1, keepdim=True).sqrt() + sweep_module.TINY) for v in plain]


@torch.no_grad()
def test_readings_are_those_of_the_plain_path(model, weights):
    fast, plain = model.read(weights), plain_readings(model, weights)
    torch.testing.assert_close(fast.points, plain.points, atol=1e-5, rtol=0)
    torch.testing.assert_close(fast.margins, plain.margins, atol=1e-5, rtol=1e-5)
    for a, b in zip((fast.distances(), fast.radii()), plain_metric_features(plain), strict=True):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_predictions_are_those_of_the_plain_path(model, weights):
    z, plain = model.encode(weights), model.latent(plain_readings(model, weights))
    torch.testing.assert_close(z, plain, atol=1e-4, rtol=1e-5)
    for ask in (model.predict_metrics, model.decode_embeddings):
        torch.testing.assert_close(ask(z), ask(plain), atol=1e-5, rtol=0)


@pytest.mark.parametrize("at_once", [1, 5, 10_000])
@torch.no_grad()
def test_how_many_are_read_at_once_changes_nothing(model, weights, monkeypatch, at_once):
    before = model.encode(weights)
    monkeypatch.setattr(model_module, "CHECKPOINTS_AT_ONCE", at_once)
    monkeypatch.setattr(sweep_module, "PROBES_AT_ONCE", 24 * at_once)
    monkeypatch.setattr(sweep_module, "PAIRS_AT_ONCE", 24**2 * at_once)
    torch.testing.assert_close(model.encode(weights), before, atol=1e-4, rtol=1e-5)


@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_pairwise_distances_are_those_of_two_points(dtype, atol):
    points = torch.randn(3, 7, 4, generator=torch.Generator().manual_seed(0), dtype=dtype)
    points = 0.9 * points / points.norm(dim=-1, keepdim=True).clamp_min(1)
    i, j = torch.triu_indices(7, 7, 1)
    wanted = poincare.distance(points[:, i], points[:, j])
    torch.testing.assert_close(pairwise_distances(points), wanted, atol=atol, rtol=0)


def test_points_that_coincide_have_finite_gradients():
    points = torch.full((1, 3, 2), 0.3, requires_grad=True)
    pairwise_distances(points).sum().backward()
    assert points.grad.isfinite().all()
