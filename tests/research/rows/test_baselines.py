"""Baselines: each does what its name says, by an oracle or by a law that it must find."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.linear_model import Ridge

from epsvae.subjects.ternary.map.data import MapData, run_mean, runs_of
from research.rows import weights
from research.rows.baselines import nearest_neighbour, training_mean
from research.rows.weights import ridge_on_weights

pytestmark = pytest.mark.numbers


def test_the_mean_knows_no_input(data):
    predict = training_mean(data)
    found = predict(data.test)
    assert np.ptp(found.metrics, axis=0).max() == 0
    runs = runs_of(data.train)
    np.testing.assert_allclose(found.metrics[0], run_mean(data.train.metrics, runs))
    np.testing.assert_allclose(
        found.embeddings[0], run_mean(data.train.embeddings, runs), atol=1e-6
    )


def test_long_runs_count_no_more_than_short_ones(make_split):
    long, short = make_split(["long"], 9), make_split(["short"], 1, seed=1)
    both = _join(long, short)
    data = MapData(both, make_split(["b"]), make_split(["c"]))
    found = training_mean(data)(data.test).metrics[0]
    np.testing.assert_allclose(found, (long.metrics.mean(0) + short.metrics[0]) / 2)


def _join(a, b):
    arrays = {
        name: np.concatenate([getattr(a, name), getattr(b, name)])
        for name in ("weights", "rest", "embeddings", "metrics")
    }
    return replace(a, index=pd.concat([a.index, b.index], ignore_index=True), **arrays)


def test_the_nearest_neighbour_of_a_training_checkpoint_is_itself(data):
    found = nearest_neighbour(data)(data.train)
    np.testing.assert_array_equal(found.metrics, data.train.metrics)
    np.testing.assert_array_equal(found.embeddings, data.train.embeddings)


def test_the_nearest_neighbour_is_blind_to_the_order_of_units(data, permute, small):
    split = data.train
    vectors = torch.from_numpy(np.concatenate([split.weights, split.rest], axis=1))
    moved = torch.stack(
        [
            split.layout.flatten(permute(split.layout.unflatten(v), small, i))
            for i, v in enumerate(vectors)
        ]
    ).numpy()
    n = split.weights.shape[1]
    moved = replace(split, weights=moved[:, :n], rest=moved[:, n:])
    np.testing.assert_array_equal(nearest_neighbour(data)(moved).metrics, split.metrics)


def test_ridge_recovers_a_law_that_is_linear_in_the_weights(data):
    """Metrics and embeddings made linear in a few hidden directions of the weights."""
    rng = np.random.default_rng(0)
    n_weights = data.train.weights.shape[1]
    plane = rng.normal(size=(3, n_weights)) / n_weights**0.5
    law = rng.normal(size=(3, 256 * 4)) * 0.01

    def linear(split, seed):
        codes = np.random.default_rng(seed).normal(size=(len(split.metrics), 3))
        embeddings = (codes @ law).reshape(-1, 256, 4)
        return replace(
            split,
            weights=(codes @ plane).astype("f4"),
            embeddings=embeddings.astype("f4"),
            metrics=codes,
        )

    made = MapData(*(linear(s, i) for i, s in enumerate((data.train, data.validation, data.test))))
    found = ridge_on_weights(made)(made.test)
    np.testing.assert_allclose(found.metrics, made.test.metrics, atol=1e-3)
    np.testing.assert_allclose(found.embeddings, made.test.embeddings, atol=1e-4)


def test_ridge_is_that_of_scikit_learn(data, monkeypatch):
    monkeypatch.setattr(weights, "RIDGES", (0.1,))
    found = ridge_on_weights(data)(data.test)
    x = data.train.weights - data.train.weights.mean(0)
    scale = np.trace(x @ x.T) / len(x)
    oracle = Ridge(alpha=0.1 * scale).fit(data.train.weights.astype("f8"), data.train.metrics)
    wanted = oracle.predict(data.test.weights.astype("f8"))
    np.testing.assert_allclose(found.metrics, wanted, atol=1e-4)


def test_ridge_strength_is_chosen_on_validation_runs(data):
    """Random metrics are not a law of anything: the best is close to their mean."""
    found = ridge_on_weights(data)(data.test).metrics
    assert np.abs(found - data.train.metrics.mean(0)).max() < 0.5
    assert np.ptp(found, axis=0).max() < np.ptp(data.train.metrics, axis=0).max()
