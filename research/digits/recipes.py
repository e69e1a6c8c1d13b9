"""Recipes of the digits library: everything that decides a run, drawn before it starts."""

from dataclasses import dataclass
from itertools import product
from typing import Any, Literal

import numpy as np

Split = Literal["train", "validation", "test", "heldout"]
Family = Literal["ordinary", "noisy labels", "large init"]
Architecture = Literal["perceptron", "convolutional"]

NETWORKS: tuple[tuple[Architecture, int], ...] = (
    ("perceptron", 32),
    ("perceptron", 64),
    ("convolutional", 8),
    ("convolutional", 16),
)
"""Every split and family has as many runs of each."""
RUNS: dict[Split, int] = {"train": 84, "validation": 20, "test": 24, "heldout": 16}
SMALL_RUNS: dict[Split, int] = {"train": 8, "validation": 4, "test": 4, "heldout": 8}
MAX_LABEL_NOISE = 0.3
"""No ordinary recipe has more; the held-out family has more."""
MAX_INIT_SCALE = 3.0
"""The same for the scale of the initial weights."""


@dataclass(frozen=True)
class Recipe:
    """A run: the same recipe gives the same run."""

    name: str
    split: Split
    family: Family
    architecture: Architecture
    width: int
    seed: int
    """Of the initial weights, the labels, the share of the images and the batches."""
    lr: float
    weight_decay: float
    """Decoupled, as AdamW has it."""
    init_scale: float
    """Times the usual initial weights, U(-1, 1) / sqrt(fan in)."""
    share: float
    """Of the 1,000 training images."""
    label_noise: float
    """Share of the training labels that are wrong."""
    shifts: bool
    """Whether each image of a batch is moved by at most one pixel down or up, right or left."""
    batch_size: int = 64
    steps: int = 1500
    n_checkpoints: int = 16
    first_checkpoint: int = 5


def checkpoint_steps(recipe: Recipe) -> list[int]:
    """After which steps there are checkpoints: evenly on a logarithmic scale, the last included."""
    steps = np.geomspace(recipe.first_checkpoint, recipe.steps, recipe.n_checkpoints)
    return np.unique(steps.round().astype(int)).tolist()


def draw_recipe(family: Family, rng: np.random.Generator, **fixed: Any) -> Recipe:
    """A recipe of a family with random hyperparameters; `fixed` fields override the draw."""
    noisy, large = family == "noisy labels", family == "large init"
    drawn: dict[str, Any] = {
        "family": family,
        "seed": int(rng.integers(2**31)),
        "lr": _log_uniform(rng, 1e-4, 3e-2),
        "weight_decay": _log_uniform(rng, 1e-4, 1.0),
        "init_scale": _log_uniform(rng, 0.3, MAX_INIT_SCALE),
        "share": _log_uniform(rng, 0.03, 1.0),
        "label_noise": float(rng.uniform(0, MAX_LABEL_NOISE) * rng.integers(2)),
        "shifts": bool(rng.integers(2)),
    }
    if noisy:
        drawn["label_noise"] = float(rng.uniform(0.35, 0.8))
    if large:
        drawn["init_scale"] = _log_uniform(rng, 4.0, 8.0)
    return Recipe(**(drawn | fixed))


def catalogue(small: bool = False, seed: int = 0) -> list[Recipe]:
    """All runs of the library; the small one is for tests and first looks."""
    rng = np.random.default_rng(seed)
    short: dict[str, Any] = {"steps": 100, "n_checkpoints": 4} if small else {}
    recipes = []
    for split, count in (SMALL_RUNS if small else RUNS).items():
        families: tuple[Family, ...] = ("ordinary",)
        if split == "heldout":
            families = ("noisy labels", "large init")
        cells = list(product(families, NETWORKS))
        for number in range(count):
            family, (architecture, width) = cells[number % len(cells)]
            name = f"{split}-{number:03d}"
            network = {"architecture": architecture, "width": width}
            recipes.append(draw_recipe(family, rng, name=name, split=split, **network, **short))
    return recipes


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
