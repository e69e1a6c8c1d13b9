"""Run folders: complete only when the record is there, whatever happens before."""

import json
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import Architecture, Metrics
from epsvae.subjects.ternary.library.architecture import (
    architecture_from_json,
    architecture_to_json,
)
from epsvae.subjects.ternary.library.files import load_checkpoint
from research.ternary.recipes import BaseRecipe, Recipe
from research.ternary.runs import (
    RECORD,
    RunCheckpoint,
    is_complete,
    read_run,
    recipe_differences,
    recipe_from_json,
    recipe_to_json,
    run_folder,
    save_run_checkpoint,
    start_run,
    write_run,
)

pytestmark = pytest.mark.numbers

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(
    lr=finite,
    seed=st.integers(0, 2**40),
    widths=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    shared=st.booleans(),
)
def test_recipes_survive_json(lr, seed, widths, shared):
    architecture = Architecture(encoder_widths=tuple(widths), shared_projection=shared)
    base = BaseRecipe(name="b", seed=seed, architecture=architecture, kl_weight=lr)
    recipe = Recipe("r", "small", "test", 3, base=base, lr=lr, regime="homeostatic")
    assert recipe_from_json(json.loads(json.dumps(recipe_to_json(recipe)))) == recipe
    assert architecture_from_json(architecture_to_json(architecture)) == architecture


def test_unreadable_recipes(make_recipe):
    plain = recipe_to_json(make_recipe())
    for bad in ({}, plain | {"speed": 1}, plain | {"base": 3}, {"base": plain["base"]}):
        with pytest.raises(LibraryError, match="fields of a Recipe"):
            recipe_from_json(bad)


def test_a_written_run_is_complete(tmp_path, make_recipe, write_small_run):
    recipe = make_recipe()
    assert not is_complete(run_folder(tmp_path, recipe), recipe)
    folder = write_small_run(tmp_path, recipe)
    assert folder == tmp_path / "small" / "run-0"
    assert is_complete(folder, recipe)
    assert sorted(path.name for path in folder.iterdir()) == [
        "epoch_0001.25.safetensors",
        "epoch_0002.50.safetensors",
        RECORD,
    ]
    run = read_run(folder)
    assert run.recipe == recipe
    assert run.checkpoints[1].metrics == Metrics(0.5, 0.1, 0.0)
    assert load_checkpoint(folder / run.checkpoints[1].file).metrics == Metrics(0.5, 0.1, 0.0)


def test_other_recipe_missing_file_and_broken_record(tmp_path, make_recipe, write_small_run):
    recipe = make_recipe()
    folder = write_small_run(tmp_path, recipe)
    assert not is_complete(folder, replace(recipe, lr=0.5))
    assert not is_complete(folder, replace(recipe, base=replace(recipe.base, seed=9)))
    text = (folder / RECORD).read_text()
    for broken in (text[:50], "[]", "null", '{"recipe": 1, "checkpoints": 2}'):
        (folder / RECORD).write_text(broken)
        assert not is_complete(folder, recipe)
        with pytest.raises(LibraryError, match="run.json: expected the record of a run"):
            read_run(folder)
    (folder / RECORD).write_text(text)
    (folder / "epoch_0002.50.safetensors").unlink()
    assert not is_complete(folder, recipe)
    with pytest.raises(LibraryError, match="missing epoch_0002.50"):
        read_run(folder)


def test_starting_again_removes_nothing_but_half_files(tmp_path, make_recipe, write_small_run):
    recipe = make_recipe()
    folder = write_small_run(tmp_path, recipe)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / ".epoch_0009.00.safetensors.0.partial").write_text("half")
    assert start_run(tmp_path, recipe) == folder
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_the_last_bit_of_a_rate_does_not_make_another_recipe(
    tmp_path, make_recipe, write_small_run
):
    """`exp` rounds differently on another processor; a run that moves there stays complete."""
    recipe = make_recipe(lr=math.exp(-7.3))
    folder = write_small_run(tmp_path, recipe)
    elsewhere = replace(recipe, lr=math.nextafter(recipe.lr, 1))
    assert elsewhere != recipe
    assert recipe_differences(recipe, elsewhere) == []
    assert is_complete(folder, elsewhere)
    other = replace(recipe, lr=recipe.lr * (1 + 1e-6))
    assert recipe_differences(recipe, other) == [f"lr: {recipe.lr}, not {other.lr}"]
    base = replace(recipe, base=replace(recipe.base, seed=9))
    assert recipe_differences(recipe, base) == ["base.seed: 0, not 9"]


def test_another_runs_files_are_never_touched(tmp_path, make_recipe, write_small_run):
    recipe = make_recipe()
    folder = write_small_run(tmp_path, recipe)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(LibraryError, match=r"another recipe \(lr: .*; move the folder away"):
        start_run(tmp_path, replace(recipe, lr=0.5))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    (folder / RECORD).write_text("{")
    with pytest.raises(LibraryError, match="run.json: expected the record of a run"):
        start_run(tmp_path, recipe)
    assert len(list(folder.iterdir())) == len(before)


def test_a_damaged_checkpoint_makes_a_run_incomplete(tmp_path, make_recipe, write_small_run):
    recipe = make_recipe()
    folder = write_small_run(tmp_path, recipe)
    (folder / "epoch_0001.25.safetensors").write_bytes(b"")
    assert not is_complete(folder, recipe)


def test_runs_are_written_only_with_checkpoints(tmp_path, make_recipe, checkpoint):
    folder = start_run(tmp_path, make_recipe())
    with pytest.raises(LibraryError, match="at least one checkpoint"):
        write_run(folder, make_recipe(), [])
    gone = RunCheckpoint("epoch_1.safetensors", 1.0, Metrics(1.0, 0.0, 0.0), "0")
    with pytest.raises(LibraryError, match="expected epoch_1.safetensors, found nothing"):
        write_run(folder, make_recipe(), [gone])
    for unknown in ({"metrics": None}, {"epoch": None}):
        with pytest.raises(LibraryError, match="with epoch and metrics"):
            save_run_checkpoint(folder, replace(checkpoint, **unknown))
    assert list(folder.iterdir()) == []


KILLED = """
import os, sys
from dataclasses import replace
import torch
from epsvae import atomic
from epsvae.subjects.ternary.library.files import Checkpoint
from research.ternary.recipes import BaseRecipe, Recipe
from research.ternary.runs import save_run_checkpoint, start_run
from epsvae.subjects.ternary import Architecture, Metrics, init_state

root, architecture = sys.argv[1], Architecture((12, 8), 4, (6,), 8)
recipe = Recipe("run-0", "small", "train", 0, base=BaseRecipe(architecture=architecture))
state = init_state(architecture, torch.Generator())
checkpoint = Checkpoint(state, architecture, metrics=Metrics(1.0, 0.0, 0.0), epoch=1.0)
folder = start_run(root, recipe)
save_run_checkpoint(folder, checkpoint)
atomic.os.replace = lambda *paths: os.kill(os.getpid(), 9)  # dies with the second file written
save_run_checkpoint(folder, replace(checkpoint, epoch=2.0))
"""


def test_a_killed_run_is_incomplete_and_shows_no_half_file(tmp_path, make_recipe, write_small_run):
    process = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], env=os.environ.copy())
    assert process.returncode == -signal.SIGKILL
    recipe = make_recipe()
    folder = run_folder(tmp_path, recipe)
    visible = [path for path in folder.iterdir() if not path.name.startswith(".")]
    assert [path.name for path in visible] == ["epoch_0001.00.safetensors"]
    assert load_checkpoint(visible[0]).epoch == 1.0
    assert not is_complete(folder, recipe)
    write_small_run(tmp_path, recipe)
    assert is_complete(folder, recipe)
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]
