"""Training the weight decoder on a small library: what it learns, and what it leaves alone."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from epsvae.subjects.ternary import embed, evaluate, operation_trits
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.map.data import all_weights, embeddings_of
from epsvae.subjects.ternary.map.fit import fit_map
from epsvae.subjects.ternary.map.model import MapConfig
from epsvae.subjects.ternary.map.train_weights import (
    WeightTraining,
    behaviour,
    fit_weight_decoder,
    mean_weights,
    mix_points,
    mixing_shares,
)
from epsvae.subjects.ternary.map.weights_out import WeightDecoderConfig

CONFIG = WeightDecoderConfig(hidden=32, rank=8)
TRAINING = WeightTraining(epochs=30, batch_size=16, n_pool=400, n_operations=48)


@pytest.fixture(scope="module")
def closed_form(trained, medium):
    return fit_map(
        trained, MapConfig(latent_dim=15, n_probes=24, curve_rank=8, architecture=medium)
    )


@pytest.fixture(scope="module")
def fit(trained, closed_form):
    return fit_weight_decoder(closed_form, trained, CONFIG, TRAINING)


@torch.no_grad()
def run(vectors, architecture, anchors):
    """Embeddings and metrics of networks given as vectors."""
    state = all_layout(architecture).unflatten(vectors)
    radii = state[MAX_RADIUS].unsqueeze(-1)
    points = embed(state, architecture, operation_trits(anchors), radii)
    states = [{k: v[i] for k, v in state.items()} for i in range(len(vectors))]
    metrics = [evaluate(s, architecture, float(s[MAX_RADIUS])).vector() for s in states]
    return points, np.array(metrics)


def test_decoded_test_checkpoints_do_what_the_true_ones_do(trained, fit):
    """Better than the mean of the training weights, which is where the decoder starts."""
    part, architecture = trained.test, trained.test.architecture
    z = fit.model.encode(all_weights(part))
    points, metrics = run(fit.model.decode_weights(z), architecture, part.anchors)
    start = mean_weights(trained.train).expand(len(z), -1)
    start_points, start_metrics = run(start, architecture, part.anchors)
    truth = embeddings_of(part)
    assert (points - truth).square().sum() < 0.5 * (start_points - truth).square().sum()
    assert F.cosine_similarity(points.flatten(1), truth.flatten(1)).mean() > 0.97
    errors, start_errors = (np.abs(m - part.metrics).mean(0) for m in (metrics, start_metrics))
    assert (errors < start_errors).all()


def test_the_best_epoch_on_validation_runs_is_kept(fit):
    assert list(fit.history.columns) == ["epoch", "train", "validation"]
    assert len(fit.history) == TRAINING.epochs
    assert fit.history["validation"].min() < 0.3 * fit.history["validation"].iloc[0]


def test_the_map_stays_as_it_is(closed_form, fit):
    assert closed_form.config.weight_decoder is None
    state = fit.model.state_dict()
    for name, value in closed_form.state_dict().items():
        assert torch.equal(value, state[name]), name
    assert not fit.model.training
    assert not any(p.requires_grad for p in fit.model.parameters())


def test_the_seed_decides_and_the_callers_random_state_is_left_alone(trained, closed_form):
    training = WeightTraining(epochs=1, n_pool=300, n_operations=16)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    fits = [
        fit_weight_decoder(closed_form, trained, CONFIG, training, seed).model for seed in (1, 1, 2)
    ]
    assert torch.equal(torch.get_rng_state(), before)
    z = torch.randn(3, 15)
    first, same, other = (model.decode_weights(z) for model in fits)
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_mean_keeps_what_all_share_exactly(trained):
    """Decoder A is the same in all runs of a base; float32 sums would move its last digits."""
    layout = trained.train.layout
    mean, first = mean_weights(trained.train), all_weights(trained.train, [0])[0]
    for name, where in layout.slices.items():
        if name.startswith("decoder_A"):
            assert torch.equal(mean[where], first[where])
    spread = all_weights(trained.train).double().mean(0).float()
    torch.testing.assert_close(mean, spread, atol=1e-6, rtol=0)


def test_behaviour_is_what_the_checkpoints_do(trained, closed_form):
    found = behaviour(closed_form, trained.validation, trained.train.anchors)
    torch.testing.assert_close(found.points, embeddings_of(trained.validation), atol=1e-5, rtol=0)
    rows = torch.tensor([3, 0])
    places = torch.tensor([5, 1, 7])
    part = found[rows].on(places)
    assert torch.equal(part.z, found.z[rows])
    assert torch.equal(part.points, found.points[rows][:, places])
    assert torch.equal(part.means, found.means[rows][:, places])


def test_half_is_mixed_and_coverage_sometimes_on_its_own():
    torch.manual_seed(0)
    shares = mixing_shares(2000, 15, WeightTraining(mixed=0.5, own_coverage=0.5))
    assert ((shares >= 0) & (shares <= 1)).all()
    geometry, coverage, others = shares[:, :12], shares[:, 12], shares[:, 13:]
    assert (geometry == geometry[:, :1]).all()
    assert torch.equal(others, geometry[:, :2])
    mixed = geometry[:, 0] < 1
    assert mixed.float().mean() == pytest.approx(0.5, abs=0.05)
    assert (coverage[~mixed] == 1).all()
    own = coverage[mixed] != geometry[mixed, 0]
    assert own.float().mean() == pytest.approx(0.5, abs=0.05)


def test_a_moved_coverage_is_heeded(trained, fit):
    """The geometry of one test checkpoint with the coverage of another."""
    z = fit.model.encode(all_weights(trained.test))
    wanted = z[:, -3].flip(0)
    z[:, -3] = wanted
    _, metrics = run(fit.model.decode_weights(z), trained.test.architecture, trained.test.anchors)
    assert np.corrcoef(metrics[:, 0], fit.model.predict_metrics(z)[:, 0])[0, 1] > 0.5


def test_mixed_points_keep_their_norms():
    """Also between points in nearly opposite directions."""
    a = torch.tensor([[[0.8, 0.0]]])
    b = torch.tensor([[[-0.4, 0.01]]])
    for share, norm in ((1.0, 0.8), (0.5, 0.6), (0.0, 0.4)):
        mixed = mix_points(a, b, torch.tensor([[[share]]]))
        assert mixed.norm() == pytest.approx(norm, abs=1e-3)
    torch.testing.assert_close(mix_points(a, b, torch.ones(1, 1, 1)), a)
