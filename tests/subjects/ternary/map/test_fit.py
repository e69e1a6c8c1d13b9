"""A small trained library: the baselines, the closed form, fine-tuning, and what selects it."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from epsvae.subjects.ternary.map.data import MapData, all_weights, embeddings_of, run_mean, runs_of
from epsvae.subjects.ternary.map.files import load_epsilon_vae, save_map
from epsvae.subjects.ternary.map.fit import fit_map
from epsvae.subjects.ternary.map.model import MapConfig
from epsvae.subjects.ternary.map.prediction import predict_split
from epsvae.subjects.ternary.map.scores import score
from epsvae.subjects.ternary.map.train import train_default
from epsvae.subjects.ternary.map.tune import TuneConfig, fine_tune, kl_to_prior
from research.reproduce import BASELINES
from research.rows import ROWS, features
from research.rows.baselines import training_mean
from research.rows.judge import summarise
from research.studies import readings

pytestmark = pytest.mark.numbers


@pytest.fixture(scope="module")
def config(medium):
    """Few probes and coordinates: the library has 40 training checkpoints."""
    return MapConfig(latent_dim=15, n_probes=24, curve_rank=8, architecture=medium)


@pytest.fixture(scope="module")
def closed_form(trained, config):
    return fit_map(trained, config)


@pytest.fixture(scope="module")
def tuning(trained, closed_form):
    return fine_tune(closed_form, trained, TuneConfig(epochs=3), torch.Generator().manual_seed(0))


def judged(model, data, split):
    mean = run_mean(data.train.embeddings[:], runs_of(data.train)).astype("f4")
    part = data.split(split)
    return summarise(score(predict_split(model.eval(), part, all_weights), part, mean))


def same(a, b):
    states = a.state_dict(), b.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_the_closed_form_beats_the_training_mean_on_held_out_runs(trained, closed_form):
    found = judged(closed_form, trained, "test")
    assert found["embedding_r2"][0] > 0.5
    assert found["cosine_gain"][0] > 0
    constant = np.abs(
        trained.test.metrics - run_mean(trained.train.metrics, runs_of(trained.train))
    )
    for name, guess in zip(
        ("coverage", "distance_correlation", "radial_hierarchy"), constant.mean(0), strict=True
    ):
        assert found[f"{name}_mae"][0] < guess, name


@pytest.mark.parametrize("name", BASELINES)
def test_every_baseline_on_a_trained_library(trained, name, monkeypatch):
    """Runs of a few seconds; every row that sees something beats the mean somewhere."""
    monkeypatch.setattr(features, "TREES", 20)
    monkeypatch.setattr(features, "CODE_TREES", 20)
    row = ROWS[name]
    mean = run_mean(trained.train.embeddings[:], runs_of(trained.train)).astype("f4")
    reference, found = (
        summarise(score(predict(trained.test), trained.test, mean))
        for predict in (training_mean(trained), row.fit(trained, 0))
    )
    errors = [m for m in found if m.endswith("_mae")]
    assert all(np.isfinite(found[m][0]) for m in errors)
    if row.access != "nothing":
        assert any(found[m][0] < reference[m][0] for m in errors)
        assert found.get("embedding_r2", (1.0,))[0] > 0


def test_the_closed_form_is_the_same_every_time(trained, closed_form, config):
    assert same(fit_map(trained, config), closed_form)
    assert not same(fit_map(trained, replace(config, seed=1)), closed_form)


def test_the_closed_form_does_not_look_at_test_runs(trained, closed_form, config):
    other = replace(trained.test, metrics=1 - np.array(trained.test.metrics))
    assert same(fit_map(MapData(trained.train, trained.validation, other), config), closed_form)


def test_codes_have_the_library_s_scale(trained, closed_form):
    """Distances in z are distances between embeddings, up to one factor."""
    with torch.no_grad():
        z = closed_form.encode(all_weights(trained.train))[:, : closed_form.config.geometry_dim]
    points = embeddings_of(trained.train).flatten(1)
    ratio = torch.pdist(z) / torch.pdist(points)
    far = torch.pdist(points) > torch.pdist(points).median()
    assert ratio[far].std() / ratio[far].mean() < 0.2


def test_a_key_vector_is_completed_with_the_mean(trained, closed_form):
    everything = all_weights(trained.train, [0])
    n = closed_form.n_key_weights
    completed = closed_form.complete(everything[:, :n])
    assert torch.equal(completed[:, :n], everything[:, :n])
    np.testing.assert_allclose(completed[0, n:], trained.train.rest[:].mean(0), atol=1e-6)


def test_fine_tuning_does_no_harm_on_validation(tuning):
    history = tuning.history
    assert list(history.columns) == ["epoch", "train", "validation"]
    assert list(history["epoch"]) == list(range(len(history)))
    assert np.isnan(history["train"][0])
    assert history.drop(index=0).notna().all(axis=None)
    assert history["validation"].min() <= history["validation"][0]


def test_the_best_epoch_is_kept(tuning, trained, closed_form):
    """Epoch 0 is the closed form: if nothing is better, that is what comes back."""
    if tuning.history["validation"].idxmin() == 0:
        assert same(tuning.model, closed_form)
    else:
        assert not same(tuning.model, closed_form)
    assert not same(tuning.final, closed_form)
    assert judged(tuning.model, trained, "test")["embedding_r2"][0] > 0.5


def test_a_wild_rate_falls_back_to_the_closed_form(trained, closed_form):
    config = TuneConfig(epochs=4, lr=1.0, probe_lr=1.0, patience=2)
    tuning = fine_tune(closed_form, trained, config, torch.Generator().manual_seed(0))
    assert same(tuning.model, closed_form)
    assert len(tuning.history) == 3  # epoch 0, and two that were worse


def test_fine_tuning_leaves_its_argument_alone(trained, config, closed_form):
    before = {name: value.clone() for name, value in closed_form.state_dict().items()}
    fine_tune(closed_form, trained, TuneConfig(epochs=1), torch.Generator().manual_seed(0))
    assert all(torch.equal(before[n], v) for n, v in closed_form.state_dict().items())


def test_fine_tuning_is_repeated_by_its_generator(trained, closed_form, tuning):
    first, second = (
        fine_tune(closed_form, trained, TuneConfig(epochs=3), torch.Generator().manual_seed(seed))
        for seed in (0, 1)
    )
    assert same(first.final, tuning.final)
    assert first.history.equals(tuning.history)
    assert not same(second.final, tuning.final)


def test_training_writes_best_and_final(trained, config, tmp_path, monkeypatch, quick_decoder):
    monkeypatch.setattr("epsvae.subjects.ternary.map.train.fit_weight_decoder", quick_decoder)
    monkeypatch.setattr(
        "epsvae.subjects.ternary.map.train.MapConfig", lambda seed: replace(config, seed=seed)
    )
    tuning = train_default(trained, tmp_path / "models", seed=3, config=TuneConfig(epochs=1))
    weights = all_weights(trained.test)
    for name, model in (("best", tuning.model), ("final", tuning.final)):
        loaded = load_epsilon_vae(tmp_path / "models" / f"{name}.pt")
        assert loaded.config == model.config
        assert loaded.config.seed == 3
        with torch.no_grad():
            for a, b in zip(loaded(weights), model(weights), strict=True):
                assert torch.equal(a, b)


def test_a_loaded_map_can_be_trained_further(trained, closed_form, tmp_path):
    """Growing a map starts from a file."""
    save_map(closed_form, tmp_path / "map.pt")
    loaded = load_epsilon_vae(tmp_path / "map.pt")
    tuning = fine_tune(loaded, trained, TuneConfig(epochs=1), torch.Generator().manual_seed(0))
    assert not same(tuning.final, closed_form)


def test_a_library_of_frozen_runs(trained, config):
    """Coverage is 1 in all of them: nothing to learn there, and no reason for NaN."""

    def frozen(split):
        metrics = np.array(split.metrics)
        metrics[:, 0] = 1.0
        return replace(split, metrics=metrics)

    data = MapData(*(frozen(s) for s in (trained.train, trained.validation, trained.test)))
    model = fit_map(data, config)
    found = predict_split(model, data.test, all_weights)
    assert np.isfinite(found.metrics).all()
    assert np.abs(found.metrics[:, 0] - 1).max() < 0.05
    assert judged(model, data, "test")["embedding_r2"][0] > 0.5
    tuning = fine_tune(model, data, TuneConfig(epochs=1), torch.Generator().manual_seed(0))
    assert tuning.history["validation"].notna().all()


@pytest.mark.parametrize("fields", [{"latent_dim": 64}, {"curve_rank": 96}])
def test_a_library_smaller_than_its_map_leaves_directions_idle(trained, config, fields):
    model = fit_map(trained, replace(config, **fields))
    found = predict_split(model, trained.test, all_weights)
    assert np.isfinite(found.embeddings).all()
    assert judged(model, trained, "test")["embedding_r2"][0] > 0.5


def test_the_divergence_is_that_of_two_normal_laws():
    generator = torch.Generator().manual_seed(0)
    mu, logvar = torch.randn(5, 3, generator=generator), torch.randn(5, 3, generator=generator)
    prior = torch.rand(3, generator=generator) + 0.5
    oracle = torch.distributions.kl_divergence(
        torch.distributions.Normal(mu, (0.5 * logvar).exp()),
        torch.distributions.Normal(torch.zeros(3), prior),
    )
    torch.testing.assert_close(kl_to_prior(mu, logvar, prior), oracle.sum(1).mean())
    zero = kl_to_prior(torch.zeros(5, 3), 2 * prior.log().expand(5, 3), prior)
    assert zero.abs() < 1e-6


def test_each_reading_of_coverage_changes_coverage_alone(trained, config, closed_form, monkeypatch):
    monkeypatch.setattr(readings, "MapConfig", lambda seed: config)
    both = predict_split(closed_form, trained.test, all_weights)
    found = []
    for scale in ("share", "logit"):
        one = readings.fit_one_scale(trained, 0, scale)(trained.test)
        np.testing.assert_allclose(one.embeddings, both.embeddings, atol=1e-6)
        np.testing.assert_allclose(one.metrics[:, 1:], both.metrics[:, 1:], atol=1e-6)
        found.append(one.metrics[:, 0])
        true = trained.test.metrics[:, 0]
        constant = run_mean(trained.train.metrics, runs_of(trained.train))[0]
        assert np.abs(found[-1] - true).mean() < np.abs(constant - true).mean()
    share, logit = found
    assert np.abs(share - logit).max() > 1e-4
    low, high = np.minimum(share, logit), np.maximum(share, logit)
    assert ((both.metrics[:, 0] > low - 3e-3) & (both.metrics[:, 0] < high + 3e-3)).all()
