"""What the runs of the text library are trained with, drawn per family."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

WIDTHS = (24, 32)
SPLITS = (("train", 28), ("validation", 6), ("test", 8), ("heldout", 6), ("train", 20))
"""Splits and their runs, in the order in which they are drawn. The last ones came later: validation
runs asked for more to learn from."""
SMALL_SPLITS = (("train", 4), ("validation", 2), ("test", 2), ("heldout", 2))
"""To try it."""
FAMILIES = ("plain", "scarce", "noisy", "wild")
HELD_FAMILIES = ("noisier", "lower")
"""Of these no run is trained on: more noise than any other, and text without capitals."""


@dataclass(frozen=True)
class Recipe:
    """Hyperparameters of one run."""

    family: str
    split: str
    number: int
    """Counts the runs of the library; what the run draws hangs on it."""
    width: int
    rate: float
    """Adam's step after the first 100 steps, to which it rises."""
    final_rate: float
    """The step at the end, as a share of `rate`; straight in between."""
    decay: float
    """Decoupled weight decay, per unit of the step."""
    scale: float
    """Standard deviation of the initial weights, relative to 1 / sqrt(inputs)."""
    share: float
    """Part of the training text that is used: one piece of it."""
    corruption: float
    """Share of characters that are replaced by random ones, afresh at each reading."""
    lower: bool
    """Whether the text is read without capitals."""

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.family}-{self.number:02d}"

    def as_json(self) -> dict[str, Any]:
        """Flat, as ``recipe.json`` holds it."""
        return asdict(self)


def draw_library(splits: Sequence[tuple[str, int]] = SPLITS, seed: int = 0) -> list[Recipe]:
    """Recipes of every split; families and widths take turns."""
    recipes: list[Recipe] = []
    for split, runs in splits:
        families = HELD_FAMILIES if split == "heldout" else FAMILIES
        for index in range(runs):
            width = WIDTHS[(index + index // len(families)) % len(WIDTHS)]
            family = families[index % len(families)]
            rng = np.random.default_rng((seed, len(recipes)))
            recipes.append(draw(family, split, len(recipes), width, rng))
    return recipes


def draw(family: str, split: str, number: int, width: int, rng: np.random.Generator) -> Recipe:
    """One recipe of a family."""

    def decades(low: float, high: float) -> float:
        return float(10 ** rng.uniform(np.log10(low), np.log10(high)))

    wild = family == "wild"
    rate, scale = decades(1e-3, 2e-2), decades(0.5, 2.0)
    if wild:
        rate, scale = decades(1e-4, 5e-2), decades(0.2, 4.0)
    corruption = {"noisy": rng.uniform(0.02, 0.25), "noisier": rng.uniform(0.4, 0.7)}
    return Recipe(
        family=family,
        split=split,
        number=number,
        width=width,
        rate=rate,
        final_rate=float(rng.choice([0.05, 1.0])),
        decay=decades(1e-3, 0.3),
        scale=scale,
        share=decades(3e-4, 0.05) if family == "scarce" else 1.0,
        corruption=float(corruption.get(family, 0.0)),
        lower=family == "lower",
    )
