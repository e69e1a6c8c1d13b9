"""The row that sees no weight at all: how far a run is, and by which recipe it was trained."""

import numpy as np
import pandas as pd
from jaxtyping import Float

from epsvae.errors import LibraryError
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData
from research.rows.features import fit_trees
from research.rows.row import Predictor
from research.ternary.recipes import REGIMES

NUMBERS = (
    *("lr", "encoder_a_lr_scale", "encoder_b_lr_scale", "radial_weight", "geodesic_weight"),
    *("reconstruction_weight", "unfreeze_start", "coverage_floor", "max_radius"),
)
"""Columns of the index that a recipe fixes before its run starts."""


def recipe_features(index: pd.DataFrame) -> Float[np.ndarray, "n features"]:
    """Epoch, share of the run that is done, one column a regime, and `NUMBERS`.

    Raises LibraryError if the index does not know the recipes, as one of imported files.
    """
    if missing := {"epoch", "epochs", "regime", *NUMBERS} - set(index.columns):
        raise LibraryError(f"index: expected the recipes' columns, missing {sorted(missing)}")
    epoch = index["epoch"].to_numpy("f8")
    regimes = [index["regime"].to_numpy() == regime for regime in REGIMES]
    numbers = [index[name].to_numpy("f8") for name in NUMBERS]
    return np.column_stack([epoch, epoch / index["epochs"].to_numpy("f8"), *regimes, *numbers])


def epoch_and_recipe(data: MapData, seed: int) -> Predictor:
    """Extremely randomised trees on epoch and recipe."""

    def features(split: ExtractedSplit) -> Float[np.ndarray, "n features"]:
        return recipe_features(split.index)

    return fit_trees(data, features, seed)
