"""Clusters and agreement: what must hold whatever the library."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import poincare
from epsvae.subjects.ternary.map.release import open_release
from epsvae.subjects.ternary.uses.behaviour import behaviour_distances
from epsvae.uses.cluster import (
    LOOSE,
    agreement,
    agreement_interval,
    cluster_by_density,
    cluster_by_means,
    coordinates,
    stability,
)

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture
def groups():
    """Sixty points in three tight groups, five runs of twelve, and the groups' labels."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 20)
    points = rng.normal(size=(3, 8))[labels] * 10 + 0.1 * rng.normal(size=(60, 8))
    return points, labels, np.tile(np.array([f"r{i}" for i in range(5)], dtype=object), 12)


def test_behaviour_distances_are_means_of_poincare_distances():
    x = 0.5 * torch.rand(4, 7, 3, generator=torch.Generator().manual_seed(0))
    apart = behaviour_distances(x.numpy(), x[:2].numpy())
    pairs = torch.broadcast_tensors(x[:, None], x[None, :2])
    expected = poincare.distance(*pairs).mean(-1)
    np.testing.assert_allclose(apart, expected, atol=1e-5)
    assert apart.shape == (4, 2)
    np.testing.assert_allclose(np.diag(apart), 0, atol=1e-5)


@pytest.mark.parametrize("bad", [1.0, 2.0, np.nan])
def test_points_outside_the_ball_are_refused(bad):
    points = np.zeros((2, 3, 2), dtype=np.float32)
    points[1, 1, 0] = bad
    with pytest.raises(EpsvaeError, match="embeddings: expected points inside the unit ball"):
        behaviour_distances(points, points)


def test_coordinates_give_euclidean_distances_back(groups):
    points = groups[0]
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    found = coordinates(apart, 8)
    np.testing.assert_allclose(
        np.linalg.norm(found[:, None] - found[None], axis=-1), apart, atol=1e-8
    )
    assert coordinates(apart, 2).shape == (60, 2)
    assert coordinates(np.zeros((1, 1))).shape == (1, 1)


def test_clear_groups_are_found_by_both_methods(groups):
    points, labels, runs = groups
    for found in (cluster_by_means(points, 3), cluster_by_density(torch.tensor(points), 5)):
        assert agreement(found, labels) == pytest.approx(1)
    apart = np.linalg.norm(points[:, None] - points[None], axis=-1)
    assert agreement(cluster_by_density(apart, 5, distances=True), labels) == pytest.approx(1)
    again = stability(points, runs, 3, repeats=3)
    assert again.groupby("kind").size().to_dict() == {"halves": 3, "seeds": 3}
    assert again["agreement"].min() == pytest.approx(1)


def test_cluster_is_kmeans_as_in_the_seed(groups):
    z = torch.tensor(groups[0], dtype=torch.float32)
    expected = KMeans(n_clusters=5, n_init=10, random_state=3).fit_predict(z.double().numpy())
    assert (cluster_by_means(z, 5, seed=3) == expected).all()


def test_too_few_or_equal_checkpoints(groups):
    points, _, runs = groups
    twins = np.repeat(points[:2], 10, axis=0)
    with pytest.raises(EpsvaeError, match="expected at least 3 different checkpoints, found 2"):
        cluster_by_means(twins, 3)
    assert set(cluster_by_means(twins, 2)) == {0, 1}
    assert (cluster_by_density(points[:4], 5) == LOOSE).all()
    assert len(cluster_by_density(points[:0], 5)) == 0
    with pytest.raises(EpsvaeError, match="z: expected at least 2 different checkpoints, found 0"):
        cluster_by_means(points[:0], 2)
    with pytest.raises(EpsvaeError, match="smallest: expected 2 or more, found 1"):
        cluster_by_density(points, 1)
    one = stability(points, np.full(60, "r", dtype=object), 3, repeats=2)
    assert list(one["kind"]) == ["seeds"]
    with pytest.raises(EpsvaeError, match="expected 30 checkpoints in each half, found 24"):
        stability(points, runs, 30, repeats=2, starts=1)


@pytest.mark.parametrize(
    "method", [lambda z: cluster_by_means(z, 2), lambda z: cluster_by_density(z, 5)]
)
def test_nan_is_refused(groups, method):
    points = groups[0].copy()
    points[3, 2] = np.nan
    with pytest.raises(EpsvaeError, match="z: expected finite"):
        method(points)


def test_agreement_is_none_by_chance_and_ignores_names(groups):
    _, labels, runs = groups
    rng = np.random.default_rng(1)
    chance = np.mean([agreement(labels, rng.permutation(labels)) for _ in range(50)])
    assert abs(chance) < 0.02
    assert agreement(labels, np.array(["b", "a", "c"], dtype=object)[labels]) == pytest.approx(1)
    assert agreement(labels, np.zeros(60, dtype=int)) == 0
    noisy = np.where(rng.random(60) < 0.2, rng.integers(3, size=60), labels)
    value, low, high = agreement_interval(labels, noisy, runs)
    assert 0 < low < value < high < 1
    alone = agreement_interval(labels, labels, np.full(60, "r", dtype=object))
    assert alone[0] == pytest.approx(1)
    assert np.isnan(alone[1:]).all()


def test_clusters_of_test_runs_follow_their_behaviour():
    """On runs that the map never saw: far above what recipes' regimes agree to."""
    release = open_release(ROOT / "data" / "reference")
    places = release.latents("aligned").query("split == 'test'")
    z = places.filter(regex=r"^z\d+$").to_numpy()
    embeddings = release.embeddings("aligned", "test")
    truth = cluster_by_means(coordinates(behaviour_distances(embeddings, embeddings)), 5)
    by_map = agreement(cluster_by_means(z, 5), truth)
    by_regime = agreement(release.rows("aligned", "test")["regime"].to_numpy(dtype=object), truth)
    assert by_map > 0.6 > 0.45 > by_regime
