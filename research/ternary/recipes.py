"""Recipes: everything that decides a training run, declared before it starts.

A recipe is a frozen record; the same recipe gives the same run. `catalogue` lists the libraries.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np

from epsvae.subjects.ternary import Architecture

Regime = Literal["frozen", "progressive", "unfrozen", "homeostatic", "scratch", "oracle"]
Split = Literal["train", "validation", "test"]
REGIMES: tuple[Regime, ...] = ("frozen", "progressive", "unfrozen", "homeostatic", "scratch")

STEPS_PER_EPOCH = 20
BATCH_SIZE = 512


@dataclass(frozen=True)
class BaseRecipe:
    """A base: encoders and decoder trained as an ordinary VAE to full coverage."""

    name: str = "base-0"
    seed: int = 0
    architecture: Architecture = field(default_factory=Architecture)
    kl_weight: float = 0.05
    """Per operation. Too small, and frozen runs have nothing left to trade."""
    lr: float = 1e-3
    max_steps: int = 6000
    target_coverage: float = 0.9999
    """Training stops here: longer, and frozen heads read all of the tidy code."""


@dataclass(frozen=True)
class Recipe:
    """A run: from a base and a projection init, by a regime and its hyperparameters."""

    name: str
    library: str
    split: Split
    started: int
    """Place in the order in which the library's runs were started; splits in time go by it."""
    base: BaseRecipe = field(default_factory=BaseRecipe)
    regime: Regime = "frozen"
    seed: int = 0
    """Order of the batches."""
    init_seed: int = 0
    """Projection init; 0 is the one that the aligned libraries share."""
    lr: float = 1e-3
    encoder_a_lr_scale: float = 0.0
    encoder_b_lr_scale: float = 0.0
    radial_weight: float = 1.0
    geodesic_weight: float = 1.0
    reconstruction_weight: float = 0.0
    """Only oracle runs have one: they reach what no recipe of the library reaches."""
    unfreeze_start: float = 0.0
    """Share of the run after which encoder A is released."""
    coverage_floor: float = 0.0
    """Homeostatic runs freeze encoder A while coverage is below it."""
    max_radius: float = 0.95
    epochs: int = 25
    n_checkpoints: int = 20

    @property
    def architecture(self) -> Architecture:
        """Architecture of the run: the base's."""
        return self.base.architecture

    @property
    def steps(self) -> int:
        """Optimiser steps of the whole run."""
        return self.epochs * STEPS_PER_EPOCH

    @property
    def steps_per_checkpoint(self) -> int:
        """Steps between two checkpoints."""
        return self.steps // self.n_checkpoints

    @property
    def encoder_lr_scales(self) -> dict[str, float]:
        """Learning-rate scale of each encoder that ever moves."""
        scales = {"encoder_A": self.encoder_a_lr_scale, "encoder_B": self.encoder_b_lr_scale}
        return {name: scale for name, scale in scales.items() if scale > 0}

    asdict = asdict


def draw_recipe(regime: Regime, rng: np.random.Generator, **fixed: Any) -> Recipe:
    """One recipe of a regime with random hyperparameters; `fixed` fields override the draw.

    Frozen runs draw smaller learning rates, as the cautious projection-only runs of the published
    library did: given three times the budget they too would memorise the 3-adic distances.
    """
    released = regime != "frozen"
    drawn: dict[str, Any] = {
        "regime": regime,
        "seed": int(rng.integers(2**31)),
        "lr": _log_uniform(rng, 5e-4, 1.2e-3) if released else _log_uniform(rng, 2e-4, 7e-4),
        "encoder_a_lr_scale": _log_uniform(rng, 0.03, 1.0) if released else 0.0,
        "encoder_b_lr_scale": _log_uniform(rng, 0.03, 1.0) if regime == "unfrozen" else 0.0,
        "radial_weight": _log_uniform(rng, 0.3, 3.0),
        "geodesic_weight": _log_uniform(rng, 0.3, 3.0),
        "unfreeze_start": float(rng.uniform(0.1, 0.6)) if regime == "progressive" else 0.0,
        "coverage_floor": float(rng.uniform(0.3, 0.95)) if regime == "homeostatic" else 0.0,
        "max_radius": float(rng.choice([0.9, 0.95, 0.99])),
        "reconstruction_weight": _log_uniform(rng, 0.1, 1.0) if regime == "oracle" else 0.0,
    }
    return Recipe(**(drawn | fixed))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
