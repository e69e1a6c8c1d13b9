"""Curves, halving, and the worth of choices, against closed forms and scipy."""

import numpy as np
import pytest
from scipy.stats import kendalltau

from epsvae.errors import EpsvaeError
from research.uses.choosing import (
    batch_regret,
    difference,
    mean_of,
    over_runs,
    regret,
    scored,
    sign,
    tau,
    top_hits,
)
from research.uses.quality import Course
from research.uses.screening import (
    RATES,
    best_rungs,
    extrapolate,
    extrapolations,
    halving,
    last_values,
    quality_curves,
    successive_halving,
)

SHARES = np.arange(1, 7) / 10


def test_a_curve_of_the_family_is_found_again():
    law = 0.8 - 0.2 * SHARES ** -RATES[10]
    decay = -0.7 + 0.5 * np.exp(-RATES[18] * SHARES)
    end = extrapolate(SHARES, np.column_stack([law, np.full(6, 0.4), decay]))
    assert end == pytest.approx([0.6, 0.4, -0.7 + 0.5 * np.exp(-RATES[18])], abs=1e-6)


def test_a_curve_stays_in_range_and_needs_four_points():
    rising = np.column_stack([SHARES * 3, SHARES, -SHARES * 4])
    assert (np.abs(extrapolate(SHARES, rising)) <= 1).all()
    assert extrapolate(SHARES[:3], rising[:3]).tolist() == rising[2].tolist()
    course = Course("a", SHARES, rising, np.zeros((6, 0)), np.zeros(0))
    assert extrapolations([course])[0].tolist() == extrapolate(SHARES, rising).tolist()
    assert last_values([course])[0].tolist() == rising[-1].tolist()
    assert quality_curves([course], 2, (1, 0, 0))[:, 0].tolist() == pytest.approx([1.5, 1.8])


def test_halving_looks_only_at_what_it_trained():
    rng = np.random.default_rng(0)
    values = np.sort(rng.random((8, 10)), axis=1)
    found = successive_halving(values, 24, rungs=3)
    assert found.spent <= 24
    # 8 runs get one checkpoint each, 4 go on for two, 2 for four more: the rest is never seen
    hidden = values.copy()
    order = np.argsort(-values[:, 0])
    hidden[order[4:], 1:] = np.nan
    survivors = order[:4][np.argsort(-values[order[:4], 2])]
    hidden[survivors[2:], 3:] = np.nan
    again = successive_halving(hidden, 24, rungs=3)
    assert again.guess.tolist() == found.guess.tolist()
    assert set(np.argsort(-found.guess)[:2]) == set(survivors[:2])


@pytest.mark.parametrize(("n", "rungs"), [(1, 1), (1, 3), (5, 1), (5, 2), (24, 4)])
def test_halving_keeps_its_budget(n, rungs):
    values = np.random.default_rng(1).random((n, 11))
    for cost in range(rungs, 12):
        found = successive_halving(values, cost * n, rungs)
        assert found.spent <= cost * n
        assert len(set(found.guess)) == n


def test_one_rung_is_the_last_value():
    values = np.random.default_rng(1).random((6, 5))
    guess = successive_halving(values, 18, rungs=1).guess
    assert np.argsort(guess).tolist() == np.argsort(values[:, 2]).tolist()
    assert halving(values.T, 3, 1)(np.arange(6)).tolist() == guess.tolist()


def test_a_budget_that_is_too_small():
    with pytest.raises(EpsvaeError, match="budget: expected at least 12 checkpoints for 6 runs"):
        successive_halving(np.zeros((6, 5)), 11, rungs=2)


def test_rungs_are_chosen_among_those_that_fit():
    rng = np.random.default_rng(0)
    finals = rng.random(30)
    late = np.vstack([rng.random((4, 30)), np.tile(finals, (6, 1))])
    assert best_rungs(late, finals, cost=5, size=16, rng=rng, draws=20) == 1
    assert best_rungs(late, finals, cost=1, size=16, rng=rng, draws=5) == 1


def test_tau_is_scipys():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(4, size=12).astype(float), rng.random(12)
        assert tau(a, b) == pytest.approx(kendalltau(a, b).statistic)
    assert tau(np.ones(4), np.arange(4.0)) == 0
    assert tau(np.ones(1), np.ones(1)) == 0


def test_hits_and_regret():
    finals = np.array([0.1, 0.9, 0.5, 0.7])
    assert top_hits(finals, finals) == 1
    assert top_hits(finals, -finals) == pytest.approx(2 / 3)
    assert top_hits(finals[:2], -finals[:2]) == 1
    batches = np.array([[0, 1], [2, 3]])
    assert regret(finals, finals, batches) == 0
    assert regret(finals, -finals, batches) == pytest.approx((0.8 + 0.2) / 2)
    measure = batch_regret(finals, finals, 3)
    assert measure(np.arange(4), 0) == 0
    assert batch_regret(finals, np.zeros(4), 1)(np.arange(4), 0) == 0


def test_intervals_over_runs():
    values = np.random.default_rng(0).normal(1, 1, 100)
    value, low, high = over_runs(mean_of(values), 100)
    assert value == pytest.approx(values.mean())
    assert low < value < high
    assert high - low == pytest.approx(4 * values.std() / 10, rel=0.15)
    assert over_runs(mean_of(values), 100) == (value, low, high)
    assert sign((value, low, high)) == 1
    alone = over_runs(mean_of(values), 1)
    assert np.isnan(alone[1:]).all()
    assert sign(alone) == 0


def test_differences_are_paired():
    finals = np.random.default_rng(0).random(20)
    noisy = batch_regret(finals, np.random.default_rng(1).random(20), 4)
    assert over_runs(difference(noisy, noisy), 20, 50) == (0, 0, 0)
    exact = scored(tau, finals, finals.take)
    assert over_runs(exact, 20, 50)[0] == pytest.approx(1)
