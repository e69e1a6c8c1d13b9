"""The factory: many runs in one stack are the runs that each would have been alone."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import (
    N_OPERATIONS,
    Metrics,
    TernaryVAE,
    all_operations,
    decode,
    encode,
    evaluate,
    geodesic_loss,
    init_state,
    project,
    radial_loss,
    reconstruction_loss,
)
from research.ternary.factory import (
    BASE_CHECK_EVERY,
    RunLoss,
    encode_all,
    initial_state,
    train_base,
    train_runs,
)
from research.ternary.recipes import BATCH_SIZE, BaseRecipe, draw_recipe
from research.ternary.stack import WARM_UP, Stack

pytestmark = pytest.mark.numbers


@pytest.fixture(scope="module")
def base_recipe(small):
    return BaseRecipe(architecture=small, max_steps=20, target_coverage=0.0)


@pytest.fixture(scope="module")
def base(base_recipe):
    return train_base(base_recipe)


@pytest.fixture(scope="module")
def draw(base_recipe):
    """(regime, seed, **fields) -> a run of one epoch with two checkpoints."""

    def draw(regime, seed=0, **fixed):
        short = {"name": f"{regime}-{seed}", "epochs": 1, "n_checkpoints": 2, "base": base_recipe}
        named = {"library": "small", "split": "train", "started": seed}
        return draw_recipe(regime, np.random.default_rng(seed), **(short | named | fixed))

    return draw


def train(recipes, base):
    """Snapshots of each run, in the order of its epochs, by name."""
    snapshots = {recipe.name: [] for recipe in recipes}
    train_runs(recipes, [base] * len(recipes), lambda s: snapshots[s.recipe.name].append(s))
    return snapshots


def moved(before, after):
    """Parameters that are not the same, to the bit."""
    return {name for name in before if not torch.equal(before[name], after[name])}


def block(state, *prefixes):
    return {name for name in state if name.startswith(prefixes)}


@pytest.mark.parametrize(
    "regimes",
    [
        ("frozen", "frozen", "frozen"),
        ("unfrozen", "unfrozen"),
        ("progressive", "homeostatic", "scratch", "oracle"),
    ],
    ids=lambda regimes: regimes[0],
)
def test_a_stacked_run_is_the_run_alone(draw, base, regimes):
    recipes = [
        draw(regime, seed, init_seed=seed, n_checkpoints=1) for seed, regime in enumerate(regimes)
    ]
    together = train(recipes, base)
    for recipe in recipes:
        alone = train([recipe], base)[recipe.name]
        for a, b in zip(together[recipe.name], alone, strict=True):
            assert a.epoch == b.epoch
            for name in a.state:
                torch.testing.assert_close(a.state[name], b.state[name], atol=1e-5, rtol=1e-4)
            assert a.metrics.distance_correlation == pytest.approx(
                b.metrics.distance_correlation, abs=1e-4
            )


def test_the_same_recipe_gives_the_same_run(draw, base):
    first, second = (train([draw("unfrozen")], base)["unfrozen-0"] for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert moved(a.state, b.state) == set()
        assert a.metrics == b.metrics


@pytest.fixture(scope="module")
def frozen(draw, base):
    """The end of a frozen run, to be held against runs of other recipes."""
    recipe = draw("frozen", n_checkpoints=1)
    return train([recipe], base)[recipe.name][-1].state


@pytest.mark.parametrize("field", ["seed", "init_seed", "lr", "radial_weight", "geodesic_weight"])
def test_every_field_of_a_recipe_matters(draw, base, frozen, field):
    recipe = draw("frozen", n_checkpoints=1)
    other = replace(recipe, **{field: 2 * getattr(recipe, field) + 1})
    state = train([other], base)[recipe.name][-1].state
    assert moved(frozen, state) >= block(state, "projection.proj_A.direction_net.3")


def test_snapshots_tell_epoch_recipe_and_metrics(draw, base, small):
    recipe = draw("frozen", epochs=1, n_checkpoints=2)
    snapshots = train([recipe], base)[recipe.name]
    assert [s.epoch for s in snapshots] == [0.5, 1.0]
    assert {s.recipe for s in snapshots} == {recipe}
    for snapshot in snapshots:
        assert snapshot.metrics == evaluate(snapshot.state, small, recipe.max_radius)


def test_snapshots_do_not_change_when_training_goes_on(draw, base):
    kept = {}
    recipe = draw("unfrozen")
    train_runs(
        [recipe],
        [base],
        lambda s: kept.update({s.epoch: (s.state, {n: t.clone() for n, t in s.state.items()})}),
    )
    for state, copy in kept.values():
        assert moved(copy, state) == set()


@pytest.mark.parametrize(
    ("regime", "still"),
    [
        ("frozen", ("encoder", "decoder")),
        ("progressive", ("encoder_B", "decoder")),
        ("unfrozen", ("decoder",)),
        ("oracle", ("encoder_B", "decoder")),
    ],
)
def test_what_is_frozen_does_not_move(draw, base, regime, still):
    recipe = draw(regime, encoder_a_lr_scale=0.0 if regime == "frozen" else 1.0)
    start, end = initial_state(recipe, base), train([recipe], base)[recipe.name][-1].state
    unread = {name for name in start if "fc_logvar" in name}  # no loss of a run looks at it
    assert moved(start, end) == set(start) - block(start, *still) - unread


def test_progressive_runs_release_encoder_a_late(draw, base):
    recipe = draw("progressive", unfreeze_start=0.5)
    early, late = train([recipe], base)[recipe.name]
    assert moved(base, early.state) == block(base, "projection")
    assert moved(early.state, late.state) >= block(base, "encoder_A.fc_mu")


def test_homeostatic_runs_freeze_encoder_a_under_the_floor(draw, base):
    """The base reconstructs nothing, so that every observed coverage is under a floor of 0.5."""
    recipes = [draw("homeostatic", seed, coverage_floor=f) for seed, f in enumerate((0.5, 0.0))]
    runs = train([replace(r, n_checkpoints=4) for r in recipes], base)
    guarded, free = runs.values()
    assert all(s.metrics.coverage < 0.5 for s in (*guarded, *free))
    encoder = block(base, "encoder_A")
    assert moved(base, guarded[0].state) & encoder  # nothing was observed before
    for before, after in zip(guarded[:-1], guarded[1:], strict=True):
        assert moved(before.state, after.state) == block(base, "projection")
    for before, after in zip(free[:-1], free[1:], strict=True):
        assert moved(before.state, after.state) & encoder


def test_homeostatic_runs_go_on_when_coverage_is_back(draw, base, monkeypatch):
    """Freezing lasts as long as the coverage is low, and not longer."""
    observed = iter([0.2, 0.9, 0.9, 0.9])
    real = evaluate
    monkeypatch.setattr(
        "research.ternary.factory.evaluate",
        lambda *args: replace(real(*args), coverage=next(observed)),
    )
    recipe = draw("homeostatic", coverage_floor=0.5, n_checkpoints=4)
    first, second, third, _ = train([recipe], base)[recipe.name]
    assert not moved(first.state, second.state) & block(base, "encoder_A")
    assert moved(second.state, third.state) & block(base, "encoder_A")


def test_a_frozen_run_is_the_loop_that_everybody_writes(draw, base, small):
    """Oracle: one module, torch.optim.Adam, nothing stacked, nothing looked up."""
    recipe = draw("frozen", epochs=1, n_checkpoints=1)
    model = TernaryVAE(small, recipe.max_radius)
    model.load_state_dict(initial_state(recipe, base))
    heads = [p for n, p in model.named_parameters() if n.startswith("projection")]
    optimiser = torch.optim.Adam(heads, lr=recipe.lr)
    order = torch.Generator().manual_seed(recipe.seed)
    for _ in range(recipe.steps):
        index = torch.randint(N_OPERATIONS, (BATCH_SIZE,), generator=order)
        optimiser.zero_grad()
        _plain_loss(dict(model.named_parameters()), recipe, index).backward()
        optimiser.step()
    found = train([recipe], base)[recipe.name][-1].state
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.detach(), atol=1e-5, rtol=1e-4)


def _plain_loss(state, recipe, index):
    total = torch.zeros(())
    for side in "AB":
        mu = encode(state, recipe.architecture, all_operations()[index], side)
        points = project(state, recipe.architecture, mu, recipe.max_radius, side)
        total = total + recipe.geodesic_weight * geodesic_loss(points, index)
        total = total + recipe.radial_weight * radial_loss(points, index)
        if side == "A" and recipe.reconstruction_weight:
            logits = decode(state, recipe.architecture, mu)
            trits = all_operations()[index]
            total = total + recipe.reconstruction_weight * reconstruction_loss(logits, trits)
    return total


def test_the_losses_are_those_of_each_run(draw, base):
    """Runs with and without a reconstruction term, with own radii and weights, in one stack."""
    recipes = [draw(regime, seed) for seed, regime in enumerate(("progressive", "oracle"))]
    starts = [initial_state(recipe, base) for recipe in recipes]
    moving = [name for name in base if name.startswith(("projection", "encoder_A"))]
    losses = RunLoss(recipes, starts)(Stack(starts, moving).layers)
    for loss, recipe, start in zip(losses, recipes, starts, strict=True):
        order = torch.Generator().manual_seed(recipe.seed)
        index = torch.randint(N_OPERATIONS, (BATCH_SIZE,), generator=order)
        torch.testing.assert_close(loss.detach(), _plain_loss(start, recipe, index))


def test_released_encoders_warm_up(draw, base, monkeypatch):
    """Adam's steps are as long as the rate, which is a hundredth of the recipe's at first."""
    monkeypatch.setattr("research.ternary.factory.evaluate", lambda *_: Metrics(1.0, 0.0, 0.0))
    recipe = draw("unfrozen", encoder_a_lr_scale=1.0, n_checkpoints=20)
    first = train([recipe], base)[recipe.name][0].state
    steps = (first["encoder_A.fc_mu.weight"] - base["encoder_A.fc_mu.weight"]).abs()
    assert steps.max() == pytest.approx(recipe.lr / WARM_UP, rel=0.05)


def test_a_run_starts_from_its_base_and_its_projection_init(draw, base, small):
    starts = [initial_state(draw("frozen", seed, init_seed=seed % 2), base) for seed in range(3)]
    heads = block(base, "projection")
    for start in starts:
        assert moved(base, start) <= heads
    assert moved(starts[0], starts[2]) == set()
    assert moved(starts[0], starts[1]) & heads
    fresh = init_state(small, torch.Generator().manual_seed(1))
    assert not moved(fresh, starts[1]) & heads


def test_all_operations_are_encoded(base, small):
    for side in "AB":
        means = encode_all(base, small, side)
        assert means.shape == (N_OPERATIONS, small.latent_dim)
        torch.testing.assert_close(means, encode(base, small, all_operations(), side))


def test_bases_are_repeated_by_their_seed(base_recipe, base):
    assert moved(base, train_base(base_recipe)) == set()
    assert moved(base, train_base(replace(base_recipe, seed=1))) >= block(base, "encoder", "decod")


def test_training_a_base_improves_its_reconstruction(base_recipe, small):
    """From a coin's throw a trit to better ones, in the time that a test has."""
    recipe, trits = replace(base_recipe, max_steps=BASE_CHECK_EVERY, lr=1e-2), all_operations()
    start = init_state(small, torch.Generator().manual_seed(recipe.seed))
    before, after = (
        reconstruction_loss(decode(s, small, encode(s, small, trits)), trits).mean()
        for s in (start, train_base(recipe))
    )
    assert after < 0.8 * before


def test_a_base_stops_at_its_coverage(base_recipe, monkeypatch):
    monkeypatch.setattr("research.ternary.factory.BASE_CHECK_EVERY", 5)
    recipe = replace(base_recipe, max_steps=5)  # a coverage of 0 is there at once
    longer = replace(recipe, max_steps=500)
    assert moved(train_base(recipe), train_base(longer)) == set()


def test_a_base_that_does_not_reach_its_coverage_is_refused(base_recipe):
    with pytest.raises(LibraryError) as caught:
        train_base(replace(base_recipe, max_steps=2, target_coverage=0.9))
    assert "base 'base-0': expected coverage >= 0.9 within 2 steps, found 0.0" in str(caught.value)
