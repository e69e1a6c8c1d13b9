"""Rows of the full protocol: each sees what its access says, and does what its name says."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import METRIC_NAMES, VALUATION_COUNTS, Architecture
from epsvae.subjects.ternary.map.data import MapData, part
from epsvae.subjects.ternary.map.ranges import link, unlink
from research.rows import ROWS, features, function, graph, training, weights
from research.rows.features import recipe_features
from research.rows.row import Row, same_names
from research.rows.targets import fit_targets
from research.rows.training import Training

pytestmark = pytest.mark.numbers

FITTED = {name: row for name, row in ROWS.items() if not row.kept}
ACCESS = ["nothing", "metadata", "statistics", "key weights", "all weights", "function"]


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(features, "TREES", 5)
    monkeypatch.setattr(features, "CODE_TREES", 5)
    monkeypatch.setattr(features, "MAX_ROUNDS", 5)
    monkeypatch.setattr(training, "TRAINING", Training(epochs=2, lr=1e-3, batch_size=16))
    monkeypatch.setattr(graph, "TRAINING", Training(epochs=1, lr=1e-3, batch_size=16))


def first_of(split, n=4):
    return part(split, slice(n))


def test_rows_come_in_the_order_of_what_they_see():
    ranks = [ACCESS.index(row.access) for row in FITTED.values()]
    assert ranks == sorted(ranks)
    assert set(ranks) == set(range(len(ACCESS)))


@pytest.mark.parametrize("name", FITTED)
def test_every_row_predicts_every_checkpoint(trained, name):
    row, n = ROWS[name], len(trained.test.metrics)
    found = row.fit(trained, 0)(trained.test)
    assert found.metrics.shape == (n, len(METRIC_NAMES))
    assert np.isfinite(found.metrics).all()
    if name != "gradient boosting":
        assert found.embeddings.shape == trained.test.embeddings.shape
        assert np.isfinite(found.embeddings).all()


@pytest.mark.parametrize("name", [name for name, row in FITTED.items() if row.trained])
def test_a_seed_decides_a_training(trained, name):
    split = first_of(trained.test)
    same, again, other = (ROWS[name].fit(trained, seed)(split).metrics for seed in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    if name != "ridge on re-aligned weights":  # runs of one base are aligned, whatever the seed
        assert not np.array_equal(same, other)


@pytest.mark.parametrize("name", ["epoch and recipe", "ExtraTrees", "PCA ridge", "neural graph"])
def test_test_runs_are_never_looked_at(trained, name):
    split = first_of(trained.test)
    blind = MapData(trained.train, trained.validation, split)
    found, wanted = (ROWS[name].fit(data, 0)(split) for data in (blind, trained))
    np.testing.assert_allclose(found.metrics, wanted.metrics, atol=1e-6)


def test_metadata_are_not_weights(trained):
    predict = ROWS["epoch and recipe"].fit(trained, 0)
    other = replace(trained.test, weights=np.zeros_like(trained.test.weights))
    np.testing.assert_array_equal(predict(other).metrics, predict(trained.test).metrics)


def test_metadata_need_recipes(trained):
    with pytest.raises(LibraryError, match="lr"):
        recipe_features(replace(trained.test, index=trained.test.index.drop(columns="lr")))
    assert recipe_features(trained.test)[:, 1].max() == 1  # the share of the run that is done


def test_pca_ridge_with_all_components_is_ridge(trained, monkeypatch):
    monkeypatch.setattr(weights, "COMPONENTS", 10_000)
    found, wanted = weights.pca_ridge(trained), weights.ridge_on_weights(trained)
    np.testing.assert_allclose(found(trained.test).metrics, wanted(trained.test).metrics, atol=1e-3)
    np.testing.assert_allclose(
        found(trained.test).embeddings, wanted(trained.test).embeddings, atol=1e-3
    )


@pytest.mark.parametrize("name", ["ridge on statistics", "ridge on weights", "PCA ridge", "PLS"])
def test_linear_rows_stay_in_range(trained, name):
    """Far from what they learned from, lines leave the range of a metric; rows do not."""
    far = replace(trained.test, weights=100 * trained.test.weights)
    metrics = ROWS[name].fit(trained, 0)(far).metrics
    assert (metrics >= [0, -1, -1]).all()
    assert (metrics <= 1).all()


def test_pls_finds_a_law_in_two_directions(data):
    rng = np.random.default_rng(0)
    plane = rng.normal(size=(2, data.train.weights.shape[1])).astype("f4")
    law = rng.normal(size=(2, 256 * 4)) * 0.01

    def linear(split, seed):
        codes = np.random.default_rng(seed).uniform(-0.4, 0.4, (len(split.metrics), 2))
        points = (codes @ law).reshape(-1, 256, 4).astype("f4")
        metrics = codes @ np.ones((2, 3))
        return replace(
            split, weights=(codes @ plane).astype("f4"), embeddings=points, metrics=metrics
        )

    made = MapData(*(linear(s, i) for i, s in enumerate((data.train, data.validation, data.test))))
    found = weights.partial_least_squares(made)(made.test)
    np.testing.assert_allclose(found.metrics, made.test.metrics, atol=1e-3)
    np.testing.assert_allclose(found.embeddings, made.test.embeddings, atol=1e-4)


def test_rows_of_statistics_are_blind_to_the_order_of_units(data, permute, small):
    split = data.test
    vectors = torch.from_numpy(np.hstack([split.weights, split.rest]))
    moved = np.stack(
        [
            split.layout.flatten(permute(split.layout.unflatten(v), small, i)).numpy()
            for i, v in enumerate(vectors)
        ]
    )
    n = split.weights.shape[1]
    moved = replace(split, weights=moved[:, :n], rest=moved[:, n:])
    predict = ROWS["ridge on statistics"].fit(data, 0)
    np.testing.assert_allclose(predict(moved).metrics, predict(split).metrics, atol=1e-4)


def test_anchors_stand_for_all_operations(trained):
    estimate = function.Estimator(trained.test.anchors)
    n = sum(VALUATION_COUNTS)
    assert estimate.weights.sum().item() == pytest.approx(n)
    assert estimate.pair_weights.sum().item() == pytest.approx(n * (n - 1) / 2)


def test_anchors_are_exact_for_embeddings_and_close_for_metrics(trained):
    found = ROWS["256 anchors"].fit(trained, 0)(trained.test)
    np.testing.assert_allclose(found.embeddings, trained.test.embeddings, atol=1e-5)
    assert np.abs(found.metrics - trained.test.metrics).mean() < 0.03
    exact = ROWS["full evaluation"].fit(trained, 0)(trained.test)
    np.testing.assert_array_equal(exact.metrics, trained.test.metrics)


def test_targets_are_undone(trained):
    targets = fit_targets(trained.train)
    found = targets.prediction(targets.of(trained.train))
    np.testing.assert_allclose(found.embeddings, trained.train.embeddings, atol=1e-3)
    inside = np.clip(trained.train.metrics[:, 0], 0.002, 0.998)
    np.testing.assert_allclose(found.metrics[:, 0], inside, atol=1e-4)
    metrics = torch.tensor([[0.3, -0.5, 0.9]])
    torch.testing.assert_close(unlink(link(metrics)), metrics)


def test_what_a_row_can_read():
    published, wide = Architecture(), Architecture(projection_hidden=128)
    deep = Architecture(projection_layers=2)
    assert same_names(published, wide)
    assert not same_names(published, deep)
    reads = {
        kind: [
            Row("nothing", lambda *_: None, reads=kind).can_read(a, published)
            for a in (published, wide, deep)
        ]
        for kind in ("any", "same names", "same")
    }
    assert reads == {
        "any": [True, True, True],
        "same names": [True, True, False],
        "same": [True, False, False],
    }
