"""The alarm for stagnation: what is true, what is seen, and how a threshold is chosen."""

import numpy as np
import pytest
import torch

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import poincare
from epsvae.subjects.ternary.uses.behaviour import SIGNS, signals, step_movements, true_movement
from epsvae.uses.stagnation import (
    StagnationRule,
    alarm_rates,
    choose_rule,
    is_stagnant,
    metric_gain,
)
from epsvae.uses.trajectory import Trajectory

EPOCHS = np.arange(1.0, 9.0)


@pytest.fixture
def ball():
    """A run of eight checkpoints with five anchors in three dimensions."""
    rng = np.random.default_rng(0)
    return 0.1 * rng.normal(size=(8, 5, 3)).cumsum(0).clip(-5, 5)


def test_movement_is_the_mean_distance(ball):
    steps = step_movements(ball)
    points = torch.tensor(ball, dtype=torch.float32)
    expected = [float(poincare.distance(points[i], points[i + 1]).mean()) for i in range(7)]
    np.testing.assert_allclose(steps, expected, rtol=1e-5)
    np.testing.assert_allclose(true_movement(ball, EPOCHS, 1.0)[1:], steps, rtol=1e-5)
    halved = true_movement(ball, 2 * EPOCHS, 2.0)[1:]
    np.testing.assert_allclose(halved, steps / 2, rtol=1e-5)
    assert np.isnan(true_movement(ball, EPOCHS, 4.0)[:4]).all()


def test_gain_is_that_of_the_best_metric():
    metrics = np.zeros((8, 3))
    metrics[:, 0] = -0.1 * EPOCHS
    assert metric_gain(metrics, EPOCHS, 1.0)[1:].tolist() == [0] * 7
    metrics[:, 2] = -0.02 * EPOCHS  # a hierarchy that falls is a gain
    np.testing.assert_allclose(metric_gain(metrics, EPOCHS, 4.0, SIGNS)[4:], 0.02)
    metrics[:, 2] *= -1
    metrics[:, 1] = 0.03 * EPOCHS
    np.testing.assert_allclose(metric_gain(metrics, EPOCHS, 2.0, SIGNS)[2:], 0.03)


def test_unknown_metrics_do_not_count():
    metrics = np.full((8, 3), np.nan)
    assert np.isnan(metric_gain(metrics, EPOCHS, 1.0)).all()
    metrics[:, 1] = 0.5
    assert metric_gain(metrics, EPOCHS, 1.0)[1:].tolist() == [0] * 7


def test_stagnant_needs_both():
    movement, gain = np.array([0.01, 0.01, 1, np.nan]), np.array([0.0, 0.1, 0.0, 0.0])
    assert is_stagnant(movement, gain).tolist() == [True, False, False, False]
    rule = StagnationRule(0.5, 0.01)
    assert rule(movement, gain).tolist() == [True, False, False, False]


def test_signals(ball):
    z = np.column_stack([EPOCHS, np.zeros(8)])
    metrics = np.column_stack([0.05 * EPOCHS, np.zeros(8), np.zeros(8)])
    frame = signals(Trajectory(EPOCHS, z, "r"), metrics, 2 * metrics, ball, 4.0)
    assert frame["epoch"].tolist() == [5, 6, 7, 8]
    np.testing.assert_allclose(frame["pace"], 1)
    np.testing.assert_allclose(frame["gain"], 0.05)
    np.testing.assert_allclose(frame["true_gain"], 0.1)


def test_the_threshold_separates_where_it_can():
    paces = np.array([0.1, 0.2, 0.3, 1.0, 2.0, 3.0])
    stagnant = paces < 0.5
    rule = choose_rule(paces, np.zeros(6), stagnant)
    assert rule.pace == pytest.approx(0.65)
    assert (rule(paces, np.zeros(6)) == stagnant).all()


def test_false_alarms_keep_within_what_is_allowed():
    rng = np.random.default_rng(0)
    for seed_allowed in (0.0, 0.05, 0.1, 0.3):
        paces, stagnant = rng.uniform(size=400).round(2), rng.uniform(size=400) < 0.3
        paces[stagnant] *= 0.6
        rule = choose_rule(paces, np.zeros(400), stagnant, seed_allowed)
        raised = rule(paces, np.zeros(400))
        assert raised[~stagnant].mean() <= seed_allowed
        best = max(
            raised_at[stagnant].mean() - raised_at[~stagnant].mean()
            for threshold in np.linspace(0, 1.001, 5006)
            if (raised_at := paces < threshold)[~stagnant].mean() <= seed_allowed
        )
        assert raised[stagnant].mean() - raised[~stagnant].mean() == pytest.approx(best)


def test_ties_count_together():
    """All paces equal: to catch one is to catch all."""
    stagnant = np.array([True, False, False, False])
    assert not choose_rule(np.ones(4), np.zeros(4), stagnant)(np.ones(4), np.zeros(4)).any()


def test_rates():
    alarms = np.array([True, False, True, True, False, False])
    stagnant = np.array([True, True, False, False, False, False])
    rates = alarm_rates(alarms, stagnant, list("aabbcc"))
    assert rates.hits[0] == 0.5
    assert rates.false_alarms[0] == 0.5
    assert rates.false_alarms[1] <= 0.5 <= rates.false_alarms[2]
    none = alarm_rates(alarms, np.zeros(6, dtype=bool), list("aabbcc"))
    assert np.isnan(none.hits).all()


def test_choosing_needs_both_kinds():
    with pytest.raises(EpsvaeError, match="found 0 and 3"):
        choose_rule(np.ones(3), np.zeros(3), np.zeros(3, dtype=bool))
    with pytest.raises(EpsvaeError, match="found 0 and 0"):
        choose_rule(np.full(3, np.nan), np.zeros(3), np.ones(3, dtype=bool))
