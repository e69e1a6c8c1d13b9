"""The sweep: what arrives depends on the function, and on nothing else of the weights."""

import numpy as np
import pytest
import torch

from epsvae.subjects.ternary import Architecture, all_operations, decode, encode, poincare
from epsvae.subjects.ternary.library.layout import all_layout
from epsvae.subjects.ternary.map.sweep import Readings, Sweep, standardise

pytestmark = pytest.mark.numbers

OTHERS = {
    "wide": Architecture(encoder_widths=(40, 20, 10)),
    "shallow": Architecture(encoder_widths=(8,), decoder_widths=(8,)),
    "deep projection": Architecture((12, 8), projection_hidden=8, projection_layers=2),
    "shared projection": Architecture((12, 8), projection_hidden=8, shared_projection=True),
    "dropout": Architecture((12, 8), projection_hidden=8, projection_dropout=True),
}


def read(sweep, states, architecture, max_radius=0.9):
    stacked = {name: torch.stack([state[name] for state in states]) for name in states[0]}
    return sweep(stacked, architecture, torch.full((len(states),), max_radius))


@pytest.fixture(scope="module")
def sweep():
    return Sweep(20, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def random_state():
    def draw(architecture, seed=0):
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(shape, generator=generator) * 1.5 * shape[-1] ** -0.5
            for name, shape in architecture.shapes().items()
        }

    return draw


def test_probes_are_operations_and_drawn_by_the_generator(sweep):
    known = {tuple(row) for row in all_operations().tolist()}
    assert {tuple(row) for row in sweep.probes.tolist()} <= known
    assert len({tuple(row) for row in sweep.probes.tolist()}) == 20
    again, other = (Sweep(20, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    assert torch.equal(again.probes, sweep.probes)
    assert not torch.equal(other.probes, sweep.probes)


@pytest.mark.parametrize("name", OTHERS)
def test_any_widths_and_depths(sweep, random_state, name):
    architecture = OTHERS[name]
    readings = read(sweep, [random_state(architecture, seed) for seed in range(3)], architecture)
    assert readings.points.shape == (3, 20, 16)
    assert readings.margins.shape == (3, 20)
    assert (readings.points.norm(dim=-1) < 0.9).all()
    sizes = [features.shape[1] for features in readings.metric_features()]
    assert sizes == [40, 190, 20]


@pytest.mark.parametrize("symmetry", ["permute", "rescale"])
@pytest.mark.parametrize("name", OTHERS)
def test_hidden_units_have_no_names(sweep, random_state, request, name, symmetry):
    architecture, change = OTHERS[name], request.getfixturevalue(symmetry)
    state = {n: t.double() for n, t in random_state(architecture).items()}
    moved = change(state, architecture, seed=1)
    assert any(not torch.equal(state[n], moved[n]) for n in state)
    exact = Sweep(20, torch.Generator().manual_seed(0)).double()
    before, after = (read(exact, [s], architecture) for s in (state, moved))
    torch.testing.assert_close(before.points, after.points, atol=1e-12, rtol=0)
    torch.testing.assert_close(before.margins, after.margins, atol=1e-10, rtol=0)


def test_checkpoints_are_read_one_by_one(sweep, random_state, small):
    architecture = OTHERS["shallow"]
    states = [random_state(architecture, seed) for seed in range(3)]
    together = read(sweep, states, architecture)
    for i, state in enumerate(states):
        alone = read(sweep, [state], architecture)
        torch.testing.assert_close(together.points[i], alone.points[0])
        torch.testing.assert_close(together.margins[i], alone.margins[0])


def test_a_margin_is_positive_where_a_probe_is_reconstructed(trained_state, sweep):
    state, architecture = trained_state
    with torch.no_grad():
        margins = read(sweep, [state], architecture).margins[0]
        logits = decode(state, architecture, encode(state, architecture, sweep.probes))
    right = (logits.argmax(-1) - 1 == sweep.wanted).all(-1)
    assert 0 < right.sum() < 20
    assert torch.equal(margins > 0, right)


@pytest.fixture
def trained_state(release):
    """The last checkpoint of the released run that lost the most coverage, but not all."""
    from epsvae.subjects.ternary.library.files import load_checkpoint

    found = [load_checkpoint(path) for path in release.checkpoint_files()]
    half = min(found, key=lambda c: abs(c.metrics.coverage - 0.5))
    return half.state, half.architecture


def test_standardised_rows_have_mean_0_and_spread_1():
    values = torch.randn(4, 50, generator=torch.Generator().manual_seed(0)) * 7 + 3
    result = standardise(values)
    np.testing.assert_allclose(result.mean(1), 0, atol=1e-5)
    np.testing.assert_allclose(result.std(1, unbiased=False), 1, atol=1e-3)
    assert standardise(torch.full((1, 5), 2.0)).abs().max() == 0


def test_distances_are_those_of_the_ball(sweep, random_state):
    """Standardised Poincaré distances of the pairs i < j, row by row of the upper triangle."""
    architecture = OTHERS["shallow"]
    states = [random_state(architecture, seed) for seed in range(2)]
    readings = read(sweep, states, architecture, max_radius=0.99)
    i, j = torch.triu_indices(20, 20, 1)
    oracle = standardise(poincare.distance(readings.points[:, i], readings.points[:, j]))
    torch.testing.assert_close(readings.distances(), oracle, atol=1e-4, rtol=1e-4)
    assert torch.equal(readings.radii().argsort(), poincare.radius(readings.points).argsort())


def test_probes_that_fall_together_have_finite_gradients():
    points = torch.full((1, 4, 16), 0.1, requires_grad=True)
    readings = Readings(points, torch.zeros(1, 4))
    (readings.distances().square().sum() + readings.radii().square().sum()).backward()
    assert points.grad.isfinite().all()


def test_readings_have_gradients_to_probes_and_weights(sweep, data, small):
    vectors = torch.from_numpy(np.concatenate([data.train.weights, data.train.rest], axis=1)[:2])
    vectors.requires_grad_()
    readings = sweep(all_layout(small).unflatten(vectors), small, vectors[:, -1])
    sum(f.square().sum() for f in (readings.geometry(), *readings.metric_features())).backward()
    assert sweep.probes.grad.isfinite().all()
    assert vectors.grad.isfinite().all()
    assert vectors.grad.abs().sum(1).min() > 0
