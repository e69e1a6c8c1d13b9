"""Building libraries: once, whole, and after a kill as if nothing had happened."""

import math
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from epsvae.errors import CheckpointError, LibraryError
from epsvae.subjects.ternary import METRIC_NAMES, evaluate
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.library.index import read_index
from epsvae.subjects.ternary.library.splits import assert_disjoint
from research.ternary import build
from research.ternary.build import base_path, build_libraries
from research.ternary.recipes import BaseRecipe, draw_recipe
from research.ternary.runs import RECORD, run_folder

pytestmark = pytest.mark.numbers

SPLITS = ("train", "train", "validation", "test")


@pytest.fixture(scope="module")
def recipes(small):
    """Two stacks: frozen runs, and runs that move encoder A."""
    base = BaseRecipe(architecture=small, max_steps=10, target_coverage=0.0)
    rng = np.random.default_rng(0)
    return [
        draw_recipe(
            ("frozen", "progressive")[started % 2],
            rng,
            name=f"tiny-{started}",
            library="tiny",
            split=split,
            started=started,
            base=base,
            epochs=1,
            n_checkpoints=2,
        )
        for started, split in enumerate(SPLITS)
    ]


@pytest.fixture(scope="module")
def root(recipes, tmp_path_factory):
    """The library as one unbroken build gives it; not to be written to."""
    root = tmp_path_factory.mktemp("unbroken")
    build_libraries(root, recipes, n_jobs=1)
    return root


@pytest.fixture(scope="module")
def unbroken(root):
    """The index that the unbroken build wrote."""
    return read_index(root)


@pytest.fixture
def built(root, tmp_path):
    """A copy of the unbroken library."""
    return shutil.copytree(root, tmp_path / "library")


@pytest.fixture
def trained(monkeypatch):
    """Names of the runs that are trained from here on."""
    names, real = [], build.train_runs

    def train_runs(recipes, *rest):
        names.extend(recipe.name for recipe in recipes)
        real(recipes, *rest)

    monkeypatch.setattr(build, "train_runs", train_runs)
    return names


def assert_same_library(found, expected):
    """The same checkpoints: runs trained in other company differ in the last digits only."""
    varying = [*METRIC_NAMES, "sha256"]
    pd.testing.assert_frame_equal(found.drop(columns=varying), expected.drop(columns=varying))
    np.testing.assert_allclose(
        found[list(METRIC_NAMES)], expected[list(METRIC_NAMES)], atol=1e-3, rtol=0
    )


def test_a_build_writes_what_its_index_says(recipes, root, unbroken):
    assert_disjoint(unbroken)
    assert len(unbroken) == sum(r.n_checkpoints for r in recipes)
    row = unbroken.iloc[-1]
    checkpoint = load_checkpoint(root / row["file"])
    metrics = evaluate(checkpoint.state, checkpoint.architecture, checkpoint.max_radius)
    assert metrics == checkpoint.metrics
    assert [getattr(metrics, name) for name in METRIC_NAMES] == [row[name] for name in METRIC_NAMES]
    assert (checkpoint.run, checkpoint.epoch) == (row["run"], row["epoch"])


def test_the_base_is_an_ordinary_checkpoint(recipes, root):
    base = load_checkpoint(base_path(root, recipes[0].base))
    assert base.epoch == 0
    assert base.run == "base-0"
    assert base.metrics == evaluate(base.state, base.architecture, base.max_radius)


def test_files_of_bases_follow_their_recipes(recipes, tmp_path):
    base = recipes[0].base
    others = [replace(base, seed=1), replace(base, kl_weight=0.5), BaseRecipe()]
    assert len({base_path(tmp_path, b) for b in (base, *others)}) == 4
    assert base_path(tmp_path, base) == base_path(tmp_path, replace(base))


def test_a_second_build_trains_nothing(recipes, built, unbroken, trained, monkeypatch):
    def fail(*_):
        raise AssertionError("the base is there")

    monkeypatch.setattr(build, "train_base", fail)
    pd.testing.assert_frame_equal(build_libraries(built, recipes, n_jobs=1), unbroken)
    assert trained == []


def test_a_larger_build_trains_only_what_is_new(recipes, built, unbroken, trained):
    for recipe in recipes[2:]:
        shutil.rmtree(run_folder(built, recipe))
    assert_same_library(build_libraries(built, recipes, n_jobs=1), unbroken)
    assert sorted(trained) == ["tiny-2", "tiny-3"]


@pytest.mark.parametrize("damage", ["record", "file", "empty file"])
def test_only_the_damaged_run_is_trained_again(recipes, built, unbroken, trained, damage):
    folder = run_folder(built, recipes[1])
    record = folder / RECORD
    if damage == "record":
        record.unlink()
    elif damage == "file":
        next(folder.glob("*.safetensors")).unlink()
    else:
        next(folder.glob("*.safetensors")).write_bytes(b"")
    assert_same_library(build_libraries(built, recipes, n_jobs=1), unbroken)
    assert trained == ["tiny-1"]


@pytest.mark.parametrize("record", ["half", "other recipe"])
def test_what_may_be_somebody_elses_run_stops_the_build_before_it_trains(
    recipes, built, trained, record
):
    path = run_folder(built, recipes[1]) / RECORD
    whole = path.read_text()
    path.write_text(whole[:100] if record == "half" else whole.replace('"seed": ', '"seed": 1'))
    (run_folder(built, recipes[0]) / RECORD).unlink()
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(LibraryError, match="expected"):
        build_libraries(built, recipes, n_jobs=1)
    assert trained == []
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_library_from_another_processor_is_complete(recipes, built, unbroken, trained):
    """The drawn rates differ in their last bits there; nothing is trained again, nothing lost."""
    moved = [
        replace(recipe, lr=math.nextafter(recipe.lr, toward))
        for recipe, toward in zip(recipes, (0, 1, 0, 1), strict=True)
    ]
    assert_same_library(build_libraries(built, moved, n_jobs=1), unbroken)
    assert trained == []


KILLED = """
import os, sys
import numpy as np
import torch
from research.ternary import build
from research.ternary.recipes import BaseRecipe, draw_recipe
from epsvae.subjects.ternary import Architecture

torch.set_num_threads(1)
base = BaseRecipe(architecture=Architecture((12, 8), 4, (6,), 8), max_steps=10, target_coverage=0.0)
rng = np.random.default_rng(0)
recipes = [
    draw_recipe(("frozen", "progressive")[i % 2], rng, name=f"tiny-{i}", library="tiny",
                split=split, started=i, base=base, epochs=1, n_checkpoints=2)
    for i, split in enumerate(("train", "train", "validation", "test"))
]
left = int(sys.argv[2])

def save_or_die(*args, real=build.save_run_checkpoint):
    global left
    left -= 1
    return real(*args) if left else os.kill(os.getpid(), 9)

build.save_run_checkpoint = save_or_die
build.build_libraries(sys.argv[1], recipes, n_jobs=1)
"""


def test_a_killed_build_goes_on_to_the_library_of_an_unbroken_one(recipes, unbroken, tmp_path):
    """Killed for real, in the second stack: the first is kept, the second trained anew."""
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), "6"], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    complete = [path.parent.name for path in sorted(tmp_path.glob(f"tiny/*/{RECORD}"))]
    assert complete == ["tiny-1", "tiny-3"]  # released encoders cost more, and so come first
    kept = (tmp_path / "tiny" / "tiny-1" / RECORD).stat().st_mtime_ns
    index = build_libraries(tmp_path, recipes, n_jobs=1)
    assert_same_library(index, unbroken)
    assert (tmp_path / "tiny" / "tiny-1" / RECORD).stat().st_mtime_ns == kept
    assert not list(tmp_path.rglob("*.partial"))


def test_a_full_disk_ends_the_build_and_not_the_library(recipes, unbroken, tmp_path, monkeypatch):
    """The error names the file; what was written before counts when there is room again."""
    left = iter(range(3))
    real = build.save_run_checkpoint

    def save_until_full(folder, checkpoint):
        if next(left, None) is None:
            raise CheckpointError(f"{folder}: cannot be written: No space left on device")
        return real(folder, checkpoint)

    with monkeypatch.context() as patch:
        patch.setattr(build, "save_run_checkpoint", save_until_full)
        with pytest.raises(CheckpointError, match="tiny-3: cannot be written: No space left"):
            build_libraries(tmp_path, recipes, n_jobs=1)
    assert not list(tmp_path.glob(f"tiny/*/{RECORD}"))
    assert_same_library(build_libraries(tmp_path, recipes, n_jobs=1), unbroken)


def test_processes_side_by_side_give_the_same_library(recipes, unbroken, tmp_path):
    assert_same_library(build_libraries(tmp_path, recipes, n_jobs=2), unbroken)


def test_runs_of_the_same_name_in_two_libraries_are_two_runs(recipes, tmp_path):
    twin = replace(recipes[0], library="other", seed=1)
    index = build_libraries(tmp_path, [recipes[0], twin], n_jobs=1)
    assert index.groupby(["library", "run"]).size().to_dict() == {
        ("other", "tiny-0"): 2,
        ("tiny", "tiny-0"): 2,
    }
    assert index["sha256"].nunique() == 4


def test_a_damaged_base_is_named(recipes, built):
    path = base_path(built, recipes[0].base)
    path.write_bytes(path.read_bytes()[:100])
    (run_folder(built, recipes[0]) / RECORD).unlink()
    with pytest.raises(CheckpointError, match=f"{path.name}: expected a whole safetensors file"):
        build_libraries(built, recipes, n_jobs=1)


def test_a_build_of_nothing(tmp_path):
    with pytest.raises(LibraryError, match="expected complete runs"):
        build_libraries(tmp_path, [], n_jobs=1)
