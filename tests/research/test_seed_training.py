"""Training the seed's model: repeated by a seed, resumed to the same end, chosen on validation."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from torch.nn.utils import clip_grad_norm_

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary.library.layout import key_layout
from epsvae.subjects.ternary.map.data import MapData, embeddings_of, key_weights, metrics_of
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE, seed_loss
from research import seed_training
from research.seed_training import SAVE_EVERY, train_seed


@pytest.fixture(scope="module")
def config(small):
    """A model of a few thousand parameters and a recipe that moves it."""
    return SeedConfig(
        latent=4,
        hidden=(16, 16),
        decoder_hidden=(16,),
        metric_hidden=(8,),
        n_weights=key_layout(small).n_weights,
        dim=small.latent_dim,
        lr=3e-3,
        epochs=12,
        batch_size=8,
    )


def train(config, data, seed=0, **options):
    return train_seed(config, data, seed, progress=False, **options)


def same(a, b):
    """Whether two trainings gave the same model and, times aside, the same history."""
    states = [model.state_dict() for model, _ in (a, b)]
    histories = [history.drop(columns="seconds") for _, history in (a, b)]
    return all(torch.equal(states[0][n], states[1][n]) for n in states[0]) and histories[0].equals(
        histories[1]
    )


@pytest.fixture(scope="module")
def unbroken(config, data):
    return train(config, data)


def test_a_seed_decides_everything(config, data, unbroken):
    assert same(train(config, data), unbroken)
    assert not same(train(config, data, seed=1), unbroken)


def test_the_random_state_of_others_is_left_alone(config, data):
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    train(config, data, max_epochs=1)
    assert torch.equal(torch.rand(3), wanted)


def test_training_learns(unbroken):
    model, history = unbroken
    assert not model.training
    assert history["train_total"].iloc[-1] < 0.8 * history["train_total"].iloc[0]
    assert list(history["epoch"]) == list(range(1, 13))
    terms = ("total", "prediction", "embedding", "metric", "kl")
    assert set(history) == {"epoch", "lr", "seconds"} | {
        f"{side}_{term}" for side in ("train", "validation") for term in terms
    }


def test_the_schedule_is_a_cosine_to_zero(config, unbroken):
    _, history = unbroken
    epochs = np.arange(config.epochs)
    cosine = config.lr * 0.5 * (1 + np.cos(np.pi * epochs / config.epochs))
    np.testing.assert_allclose(history["lr"], cosine, rtol=1e-6)


@pytest.fixture(scope="module")
def overfitting(config):
    """Metrics at random: what is learned of the training runs is wrong for others."""
    return replace(config, hybrid=False, lr=0.02, epochs=60, dropout=0.0)


def test_the_best_epoch_is_the_best_on_validation_runs(overfitting, data):
    model, history = train(overfitting, data, max_epochs=25)
    best = history["validation_prediction"].idxmin()
    assert best < len(history) - 1  # it did get worse: there was something to choose
    assert history["train_metric"].idxmin() > best
    split = data.validation
    with torch.no_grad():
        posterior = model.posterior(key_weights(split))
        loss = seed_loss(model, posterior, embeddings_of(split), metrics_of(split))
    found = loss.prediction(overfitting).item()
    assert found == pytest.approx(history["validation_prediction"][best], rel=1e-5)


def test_patience_ends_a_training_that_gets_worse(overfitting, data):
    _, history = train(overfitting, data, patience=5)
    best = history["validation_prediction"].idxmin()
    assert len(history) == best + 1 + 5 < 60


def test_max_epochs_cuts_the_training_and_not_the_schedule(config, data, unbroken):
    _, history = train(config, data, max_epochs=3)
    columns = history.columns.drop("seconds")
    pd.testing.assert_frame_equal(history[columns], unbroken[1][columns].head(3))


def test_test_runs_are_never_read(config, data, make_split, unbroken):
    other = MapData(data.train, data.validation, make_split(["elsewhere"], seed=9))
    assert same(train(config, other), unbroken)


def test_a_finished_part_goes_on(config, data, unbroken, tmp_path):
    path = tmp_path / "training" / "state.pt"
    train(config, data, max_epochs=4, checkpoint_path=path)
    assert same(train(config, data, checkpoint_path=path), unbroken)
    assert [p.name for p in path.parent.iterdir()] == ["state.pt"]


def test_a_killed_training_goes_on_to_the_result_of_an_unbroken_one(
    config, data, unbroken, tmp_path, monkeypatch
):
    """Killed an epoch after a save: that epoch is lost, and trained again to the bit."""
    path, real = tmp_path / "state.pt", seed_training._Training.one_epoch

    def one_epoch(self, data):
        if self.epoch == SAVE_EVERY + 1:
            raise KeyboardInterrupt
        real(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(seed_training._Training, "one_epoch", one_epoch)
        with pytest.raises(KeyboardInterrupt):
            train(config, data, checkpoint_path=path)
    assert torch.load(path, weights_only=True)["epoch"] == SAVE_EVERY
    assert same(train(config, data, checkpoint_path=path), unbroken)


def test_a_full_disk_leaves_the_old_state(config, data, unbroken, tmp_path, full_disk):
    path = tmp_path / "state.pt"
    train(config, data, max_epochs=2, checkpoint_path=path)
    with full_disk(), pytest.raises(EpsvaeError, match="state.pt: cannot be written"):
        train(config, data, max_epochs=4, checkpoint_path=path)
    assert list(tmp_path.iterdir()) == [path]
    assert same(train(config, data, checkpoint_path=path), unbroken)


def test_a_finished_training_trains_nothing(config, data, unbroken, tmp_path, monkeypatch):
    path = tmp_path / "state.pt"
    train(config, data, checkpoint_path=path)

    def fail(*_):
        raise AssertionError("the training was finished")

    monkeypatch.setattr(seed_training._Training, "one_epoch", fail)
    assert same(train(config, data, checkpoint_path=path), unbroken)


def test_the_state_of_another_training_is_refused(config, data, tmp_path):
    path = tmp_path / "state.pt"
    train(config, data, max_epochs=1, checkpoint_path=path)
    for other in ({"config": replace(config, lr=0.5), "seed": 0}, {"config": config, "seed": 3}):
        with pytest.raises(EpsvaeError, match=r"state.pt: expected a training of .*, found "):
            train(other["config"], data, other["seed"], checkpoint_path=path)


def test_the_metrics_only_model_is_trained_by_the_same_loop(config, data):
    model, history = train(replace(config, hybrid=False), data, max_epochs=5)
    assert model.decoder is None
    assert (history["train_embedding"] == 0).all()
    assert history["train_metric"].iloc[-1] < history["train_metric"].iloc[0]


def test_it_is_the_loop_that_everybody_writes(config, data):
    """Oracle: autograd, clip_grad_norm_ and AdamW, without buffers of our own."""
    plain = replace(config, dropout=0.0, clip=0.05)
    _, history = train(plain, data, max_epochs=2)
    torch.manual_seed(0)
    model = SeedVAE(plain)
    optimiser = torch.optim.AdamW(model.parameters(), plain.lr, weight_decay=plain.weight_decay)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, plain.epochs)
    totals = []
    for _ in range(2):
        total, order = 0.0, torch.randperm(len(data.train.metrics))
        for rows in (batch.numpy() for batch in order.split(plain.batch_size)):
            posterior = model.posterior(key_weights(data.train, rows))
            targets = embeddings_of(data.train, rows), metrics_of(data.train, rows)
            loss = seed_loss(model, posterior, *targets).total(plain)
            optimiser.zero_grad()
            loss.backward()
            clip_grad_norm_(model.parameters(), plain.clip)
            optimiser.step()
            total += len(rows) * loss.item() / len(order)
        schedule.step()
        totals.append(total)
    np.testing.assert_allclose(history["train_total"], totals, rtol=1e-4)
