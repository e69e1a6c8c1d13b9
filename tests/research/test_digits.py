"""The digits factory: a stack is its runs, a library is what its recipes say, nothing is lost."""

import json
from collections import Counter
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, safe_open

from epsvae.errors import LibraryError
from epsvae.subjects.digits import Digits, load_images
from research.digits.bench import benchmark, plain_run
from research.digits.build import RECORD, build, run_folder
from research.digits.factory import (
    SHIFTS,
    draw_batches,
    forward,
    initial_state,
    shift_table,
    train,
)
from research.digits.recipes import (
    MAX_INIT_SCALE,
    MAX_LABEL_NOISE,
    NETWORKS,
    RUNS,
    catalogue,
    checkpoint_steps,
    draw_recipe,
)

pytestmark = pytest.mark.numbers


def draw(seed=0, family="ordinary", architecture="perceptron", width=6, **fixed):
    """A run of three steps on few images."""
    short = {"steps": 3, "first_checkpoint": 1, "n_checkpoints": 2, "batch_size": 16}
    named = {"name": f"run-{seed}", "split": "train", "architecture": architecture}
    rng = np.random.default_rng(seed)
    return draw_recipe(family, rng, width=width, **(short | named | fixed))


def states_of(recipes):
    """{(name, step): state} of a training."""
    found = {}
    train(recipes, lambda recipe, step, state: found.update({(recipe.name, step): state}))
    return found


@pytest.mark.parametrize(("architecture", "width"), [("perceptron", 6), ("convolutional", 3)])
def test_stacked_training_is_the_loop_that_everybody_writes(architecture, width):
    """Oracle: one module, torch.optim.AdamW, one run at a time; own rates, decays and batches.

    Adam divides by the gradient's size, so that a rounding error in a gradient near 0 may become
    a step of up to the rate; the mean difference tells a wrong step from that.
    """
    recipes = [
        draw(seed, architecture=architecture, width=width, steps=8, lr=lr, weight_decay=decay)
        for seed, (lr, decay) in enumerate([(1e-3, 1.0), (1e-2, 1e-3), (3e-4, 10.0)])
    ]
    found = states_of(recipes)
    for recipe in recipes:
        expected = plain_run(recipe, shift_table()).state_dict()
        start, end = initial_state(recipe), found[recipe.name, recipe.steps]
        for name in expected:
            difference = (end[name] - expected[name]).abs().mean()
            assert difference < 0.02 * (end[name] - start[name]).abs().mean(), name


@pytest.mark.parametrize(("architecture", "width"), NETWORKS)
def test_stacked_logits_are_those_of_the_modules(architecture, width):
    digits = Digits()
    recipes = [draw(seed, architecture=architecture, width=width) for seed in range(2)]
    states = [initial_state(recipe) for recipe in recipes]
    layers = {name: torch.stack([s[name] for s in states]) for name in states[0]}
    images = digits.inputs[:10].view(2, 5, 1, 8, 8)
    expected = [digits.build(s)(x) for s, x in zip(states, images, strict=True)]
    torch.testing.assert_close(forward(layers, images), torch.stack(expected), atol=1e-4, rtol=1e-4)


def test_a_run_does_not_depend_on_its_stack():
    recipes = [draw(seed) for seed in range(3)]
    together, alone = states_of(recipes), states_of(recipes[1:2])
    for key, state in alone.items():
        for name in state:
            torch.testing.assert_close(together[key][name], state[name], atol=1e-4, rtol=1e-3)


def test_checkpoints_are_spread_over_early_and_late_steps():
    recipe = catalogue()[0]
    steps = checkpoint_steps(recipe)
    assert len(steps) == recipe.n_checkpoints >= 12
    assert steps[0] == recipe.first_checkpoint
    assert steps[-1] == recipe.steps
    ratios = np.divide(steps[1:], steps[:-1])
    assert ratios.max() < 1.2 * ratios.min() + 0.1


def test_the_splits_hold_what_they_say():
    recipes = catalogue()
    assert Counter(r.split for r in recipes) == RUNS
    assert RUNS["train"] + RUNS["validation"] >= 96
    assert len({(r.split, r.name) for r in recipes}) == len({r.seed for r in recipes})
    for recipe in recipes:
        families = {"noisy labels", "large init"} if recipe.split == "heldout" else {"ordinary"}
        assert recipe.family in families
        assert (recipe.label_noise > MAX_LABEL_NOISE) == (recipe.family == "noisy labels")
        assert (recipe.init_scale > MAX_INIT_SCALE) == (recipe.family == "large init")
    cells = Counter((r.split, r.family, r.architecture, r.width) for r in recipes)
    assert len(cells) == (3 + 2) * len(NETWORKS)
    for split in RUNS:
        assert len({n for (s, *_), n in cells.items() if s == split}) == 1


def test_training_recipes_vary_over_decades():
    training = [r for r in catalogue() if r.split == "train"]
    spans = {"lr": 100, "weight_decay": 1000, "init_scale": 4, "share": 10}
    for name, span in spans.items():
        values = [getattr(r, name) for r in training]
        assert max(values) / min(values) > span
    assert {r.shifts for r in training} == {False, True}
    assert {r.label_noise > 0 for r in training} == {False, True}


def test_batches_are_those_of_the_recipe():
    labels = load_images().training_labels
    recipe = draw(steps=300, share=0.1, label_noise=0.25, shifts=True)
    batches = draw_batches(recipe)
    images = batches.rows % 1000
    assert len(images.unique()) == 100
    assert set((batches.rows // 1000).unique().tolist()) == set(range(len(SHIFTS)))
    wrong = (batches.labels != labels[images]).float().mean()
    assert 0.05 < wrong < 0.5  # 100 images: a share of .25 within five standard errors
    for image in images.unique()[:10]:
        assert len(batches.labels[images == image].unique()) == 1  # wrong once and for all
    still = draw_batches(replace(recipe, shifts=False, label_noise=0.0, share=1.0))
    assert still.rows.max() < 1000
    assert torch.equal(still.labels, labels[still.rows])


def test_only_training_images_are_shifted_into_the_table():
    table = shift_table().view(len(SHIFTS), 1000, 1, 8, 8)
    assert torch.equal(table[0], load_images().training)
    assert len({tuple(t.flatten().tolist()) for t in table[:, 0]}) == len(SHIFTS)


def test_a_library_is_built_and_goes_on_where_it_stopped(tmp_path):
    """End to end on two networks: files, facts, resuming, and a library that is not overwritten."""
    recipes = [draw(0), draw(1, split="test"), draw(2, architecture="convolutional", width=2)]
    assert build(tmp_path, recipes[:1]) == 1
    folder = run_folder(tmp_path, recipes[0])
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert sorted(before) == [RECORD, "step-000001.safetensors", "step-000003.safetensors"]
    (half := run_folder(tmp_path, recipes[1])).mkdir(parents=True)
    (half / "step-000001.safetensors").write_bytes(b"half a run")
    assert build(tmp_path, recipes) == 2
    assert build(tmp_path, recipes) == 0
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    for recipe in recipes:
        _check_run(tmp_path / recipe.split / recipe.name, recipe)
    assert len(list(tmp_path.rglob("*.*"))) == 9


def _check_run(folder, recipe):
    digits = Digits()
    assert json.loads((folder / RECORD).read_text()) == asdict(recipe)
    for step in checkpoint_steps(recipe):
        path = folder / f"step-{step:06d}.safetensors"
        with safe_open(path, "pt") as file:
            facts = file.metadata()
        assert facts["step"] == str(step)
        expected = digits.measure(digits.build(load_file(path)))
        assert json.loads(facts["metrics"]) == pytest.approx(dict(expected), rel=1e-4, abs=2e-3)


def test_a_run_by_another_recipe_is_refused_and_left_alone(tmp_path):
    recipe = draw()
    build(tmp_path, [recipe])
    record = run_folder(tmp_path, recipe) / RECORD
    before = record.read_text()
    with pytest.raises(LibraryError, match=r"recipe.json: expected .* found .* build elsewhere"):
        build(tmp_path, [replace(recipe, lr=0.5)])
    assert record.read_text() == before


def test_training_learns():
    """From chance to far above it in the time that a test has."""
    digits = Digits()
    easy = {"lr": 1e-2, "weight_decay": 0.0, "init_scale": 1.0, "share": 1.0, "label_noise": 0.0}
    recipe = draw(width=16, steps=150, batch_size=64, shifts=False, **easy)
    first, last = states_of([recipe]).values()
    assert digits.measure(digits.build(first))["accuracy"] < 0.5
    assert digits.measure(digits.build(last))["accuracy"] > 0.8


def test_the_benchmark_has_a_row_a_network():
    table = benchmark(rounds=1, steps=5)
    assert list(table.index) == [f"{a}-{w}" for a, w in NETWORKS] + ["library"]
    assert (table[["plain", "stacked", "ratio"]] > 0).all(axis=None)
