"""Forecasts of a run's end: exact where runs keep their law, refused where nothing is known."""

import numpy as np
import pytest
import torch

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import Architecture
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.uses.trajectory import Trajectory
from research.uses.endpoint import (
    BOTH,
    PLACE,
    VELOCITY,
    best_damping,
    choose_forecast,
    copy_nearest,
    early_part,
    endpoint_errors,
    extrapolate,
    fit_forecast,
    persist,
)

EPOCHS = np.arange(1.0, 21.0)


def straight(n_runs: int, seed: int = 0, bend: float = 1.0) -> list[Trajectory]:
    """Runs that go straight on for half their epochs and at `bend` times the speed from there."""
    rng = np.random.default_rng(seed)
    starts, velocities = rng.normal(size=(2, n_runs, 4))
    way = np.minimum(EPOCHS, 10) + bend * np.maximum(EPOCHS - 10, 0)
    return [
        Trajectory(EPOCHS, a + np.outer(way, v)) for a, v in zip(starts, velocities, strict=True)
    ]


def ends(paths):
    return np.stack([path.z[-1] for path in paths])


def test_straight_on_is_exact_for_straight_runs():
    paths = straight(5)
    young = [early_part(path, 0.4) for path in paths]
    np.testing.assert_allclose(extrapolate(young), ends(paths))
    np.testing.assert_allclose(extrapolate(young, 0.0), persist(young))
    assert best_damping(young, ends(paths)) == pytest.approx(1)


def test_the_damping_is_found():
    paths = straight(20, bend=0.3)
    young = [early_part(path, 0.5) for path in paths]
    assert best_damping(young, ends(paths)) == pytest.approx(0.3)


def test_a_forecast_learns_what_it_may_know():
    train, test = straight(60, bend=0.3), straight(10, seed=1, bend=0.3)
    old, young = ([early_part(path, 0.5) for path in paths] for paths in (train, test))
    error = {
        knows: np.abs(fit_forecast(old, ends(train), knows)(young) - ends(test)).mean()
        for knows in (PLACE, VELOCITY, BOTH)
    }
    assert error[VELOCITY] < 0.05
    assert error[PLACE] > 3 * error[VELOCITY]
    assert choose_forecast(old, ends(train)).knows in (VELOCITY, BOTH)


def test_the_nearest_run_is_copied():
    train = straight(6)
    old = [early_part(path, 0.5) for path in train]
    np.testing.assert_allclose(copy_nearest(old, old, ends(train)), ends(train))


def test_what_is_early():
    path = straight(1)[0]
    early = early_part(path, 0.5)
    assert early.remaining == 10
    np.testing.assert_allclose(early.velocity, path.steps[0])
    assert early_part(path, 0.5, last_epoch=30.0).remaining == 15
    with pytest.raises(EpsvaeError, match="expected two checkpoints in the first 5%"):
        early_part(path, 0.05)


def test_equal_checkpoints_stand_still():
    still = Trajectory(EPOCHS, np.ones((20, 4)))
    young = [early_part(still, 0.5)] * 3
    assert best_damping(young, ends([still] * 3)) == 0
    forecast = fit_forecast(young, ends([still] * 3))
    np.testing.assert_allclose(forecast(young), 1)


def test_errors_are_zero_for_the_truth():
    small = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, architecture=small)).eval()
    z = np.random.default_rng(0).normal(size=(3, 12))
    with torch.no_grad():
        points = torch.tensor(z, dtype=torch.float32)
        truth = model.decode_embeddings(points).numpy(), model.predict_metrics(points).numpy()
    found = endpoint_errors(model, z, z, *truth)
    assert list(found) == [
        "z",
        "poincare",
        "coverage",
        "distance_correlation",
        "radial_hierarchy",
    ]
    assert found.abs().to_numpy().max() < 1e-3
    assert (endpoint_errors(model, z + 1, z, *truth)["z"] > 3).all()
