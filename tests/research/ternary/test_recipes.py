"""Recipes: drawn within their laws, repeated by their seed, and never beside the regime."""

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsvae.subjects.ternary import Architecture
from research.ternary.recipes import (
    REGIMES,
    STEPS_PER_EPOCH,
    BaseRecipe,
    Recipe,
    draw_recipe,
)

pytestmark = pytest.mark.numbers

NAMED = {"name": "run-0", "library": "small", "split": "train", "started": 0}
regimes = st.sampled_from([*REGIMES, "oracle"])
seeds = st.integers(0, 2**32 - 1)


def draw(regime, seed, **fixed):
    return draw_recipe(regime, np.random.default_rng(seed), **NAMED, **fixed)


@given(regime=regimes, seed=seeds)
def test_a_draw_is_repeated_by_its_seed(regime, seed):
    assert draw(regime, seed) == draw(regime, seed)
    assert draw(regime, seed) != draw(regime, seed + 1)


@given(regime=regimes, seed=seeds)
def test_a_regime_decides_what_moves(regime, seed):
    recipe = draw(regime, seed)
    moving = {"frozen": set(), "unfrozen": {"encoder_A", "encoder_B"}}
    assert set(recipe.encoder_lr_scales) == moving.get(regime, {"encoder_A"})
    assert (recipe.unfreeze_start > 0) == (regime == "progressive")
    assert (recipe.coverage_floor > 0) == (regime == "homeostatic")
    assert (recipe.reconstruction_weight > 0) == (regime == "oracle")


@given(regime=regimes, seed=seeds)
def test_draws_stay_where_the_trade_off_is(regime, seed):
    recipe = draw(regime, seed)
    assert 2e-4 <= recipe.lr <= (7e-4 if regime == "frozen" else 1.2e-3)
    assert all(0.03 <= scale <= 1 for scale in recipe.encoder_lr_scales.values())
    assert 0.3 <= recipe.radial_weight <= 3
    assert 0.3 <= recipe.geodesic_weight <= 3
    assert recipe.max_radius in (0.9, 0.95, 0.99)
    assert 0 <= recipe.unfreeze_start <= 0.6
    assert 0 <= recipe.coverage_floor <= 0.95


@given(regime=regimes, seed=seeds)
def test_fixed_fields_override_and_change_no_other(regime, seed):
    fixed = draw(regime, seed, lr=0.5, init_seed=7, epochs=3, n_checkpoints=2)
    assert fixed == replace(draw(regime, seed), lr=0.5, init_seed=7, epochs=3, n_checkpoints=2)


def test_lengths_in_steps():
    recipe = Recipe(**NAMED, epochs=6, n_checkpoints=4)
    assert recipe.steps == 6 * STEPS_PER_EPOCH == 120
    assert recipe.steps_per_checkpoint == 30


def test_a_run_has_the_architecture_of_its_base():
    architecture = Architecture(projection_hidden=32)
    recipe = Recipe(**NAMED, base=BaseRecipe(architecture=architecture))
    assert recipe.architecture == architecture
    assert recipe.asdict()["base"]["architecture"]["projection_hidden"] == 32


def test_a_recipe_is_a_value():
    recipe = Recipe(**NAMED)
    assert {recipe, Recipe(**NAMED)} == {recipe}
    with pytest.raises(FrozenInstanceError):
        recipe.lr = 1.0
    with pytest.raises(TypeError, match="speed"):
        draw("frozen", 0, speed=1)
