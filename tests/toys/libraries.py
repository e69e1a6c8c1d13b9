"""Fixtures of libraries on disk: runs of random networks, and a small library really trained.

A plugin that `tests/conftest.py` loads, because several rooms share it.
"""

import fcntl
import os
import resource
import signal
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epsvae.subjects.ternary import Metrics
from epsvae.subjects.ternary.library import extract_library
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.map.calibrate import calibrate
from epsvae.subjects.ternary.map.data import MapData, load_map_data
from epsvae.subjects.ternary.map.fit import fit_map
from epsvae.subjects.ternary.map.model import MapConfig
from epsvae.subjects.ternary.map.train_weights import WeightTraining, fit_weight_decoder
from epsvae.subjects.ternary.map.weights_out import WeightDecoderConfig
from research.ternary import build_libraries
from research.ternary.index import build_index
from research.ternary.recipes import BaseRecipe, Recipe, draw_recipe
from research.ternary.runs import save_run_checkpoint, start_run, write_run
from tests.toys.networks import MEDIUM, SMALL, _make_state


def _make_recipe(name: str = "run-0", split: str = "train", started: int = 0, **fields) -> Recipe:
    common = {"library": "small", "base": BaseRecipe(architecture=SMALL)}
    return Recipe(**{**common, "name": name, "split": split, "started": started, **fields})


def _write_small_run(root: Path, recipe: Recipe, n_checkpoints: int = 2) -> Path:
    folder = start_run(root, recipe)
    lines = []
    for i in range(n_checkpoints):
        checkpoint = Checkpoint(
            _make_state(recipe.architecture, seed=100 * recipe.started + i),
            recipe.architecture,
            max_radius=recipe.max_radius,
            metrics=Metrics(0.5, 0.1 * i, -0.01 * recipe.started),
            epoch=1.25 * (i + 1),
            run=recipe.name,
        )
        lines.append(save_run_checkpoint(folder, checkpoint))
    write_run(folder, recipe, lines)
    return folder


def _medium_recipes(*n_runs: int, library: str = "medium") -> list[Recipe]:
    """Runs of the medium architecture; half of them are frozen, half release encoder A."""
    recipes = []
    base = BaseRecipe(architecture=MEDIUM, lr=1e-2, target_coverage=0.95)
    rng = np.random.default_rng(0)
    splits = np.repeat(("train", "validation", "test"), n_runs).tolist()
    for started, split in enumerate(splits):
        regime = ("frozen", "homeostatic")[started % 2]
        fields = {"lr": float(rng.uniform(3e-3, 8e-3)), "epochs": 2, "n_checkpoints": 4}
        if regime == "homeostatic":
            fields |= {"encoder_a_lr_scale": float(rng.uniform(1, 3)), "coverage_floor": 0.0}
        named = {"name": f"{library}-{started:02d}", "library": library, "started": started}
        recipes.append(draw_recipe(regime, rng, split=split, base=base, **named, **fields))
    return recipes


@pytest.fixture(scope="session")
def make_recipe():
    """(name, split, started, **fields) -> recipe for a network of the small architecture."""
    return _make_recipe


@pytest.fixture(scope="session")
def write_small_run():
    """(root, recipe, n_checkpoints) -> folder of a complete run of random networks."""
    return _write_small_run


@pytest.fixture
def checkpoint() -> Checkpoint:
    """A small checkpoint with everything known."""
    return Checkpoint(
        _make_state(),
        SMALL,
        max_radius=0.9,
        metrics=Metrics(1.0, 0.5, -0.25),
        epoch=3.0,
        run="run-0",
        provenance={"seed": 7},
    )


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Root of an indexed library: three training runs, one validation and one test run."""
    root = tmp_path / "library"
    for i, split in enumerate(("train", "train", "train", "validation", "test")):
        recipe = _make_recipe(f"run-{i}", split, i, max_radius=0.9 + 0.01 * i)
        _write_small_run(root, recipe)
    build_index(root)
    return root


@pytest.fixture(scope="session")
def full_disk():
    """() -> a context in which no file can grow beyond a kilobyte: the kernel's own refusal."""

    @contextmanager
    def fill():
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)

    return fill


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> MapData:
    """A library out of the factory: ten training, two validation and three test runs."""
    root = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:  # the workers share one: the second waits for the first
        root = root.parent
    with (root / "trained.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = root / "trained"
        if not root.exists():
            build_libraries(root / "library", _medium_recipes(10, 2, 3), n_jobs=1)
            index = pd.read_parquet(root / "library" / "index.parquet")
            extract_library(index, root / "library", root / "arrays")
    return load_map_data(root / "arrays")


@pytest.fixture(scope="session")
def quick_decoder():
    """`fit_weight_decoder` for those who test something else: a second instead of a minute."""
    return partial(
        fit_weight_decoder,
        config=WeightDecoderConfig(hidden=16, rank=4),
        training=WeightTraining(epochs=5, n_pool=300, n_operations=32),
    )


@pytest.fixture(scope="session")
def trained_map(trained):
    """The map of the trained library, as it is fitted by default."""
    model = fit_map(trained, MapConfig(architecture=trained.train.architecture))
    return model.requires_grad_(False)


@pytest.fixture(scope="session")
def trained_calibration(trained_map, trained):
    """The intervals and the off-map score of that map."""
    return calibrate(trained_map, trained)
