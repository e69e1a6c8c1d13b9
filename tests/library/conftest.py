"""Small networks and a small library on disk, without any training; makers are fixtures too."""

from pathlib import Path

import pytest
import torch

from epsvae.subjects.ternary import Architecture, Metrics, init_state
from epsvae.subjects.ternary.library.files import Checkpoint
from research.ternary.index import build_index
from research.ternary.recipes import BaseRecipe, Recipe
from research.ternary.runs import save_run_checkpoint, start_run, write_run

SMALL = Architecture(encoder_widths=(12, 8), latent_dim=4, decoder_widths=(6,), projection_hidden=8)


def _make_state(architecture: Architecture = SMALL, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    state = init_state(architecture, generator)
    return {name: t + 0.1 * torch.randn(t.shape, generator=generator) for name, t in state.items()}


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


@pytest.fixture(scope="session")
def small() -> Architecture:
    """An architecture of a few hundred parameters."""
    return SMALL


@pytest.fixture(scope="session")
def make_state():
    """(architecture, seed) -> random parameters, none of them zero."""
    return _make_state


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
