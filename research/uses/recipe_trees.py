"""What a recipe alone lets expect of a run that was never started."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import ExtraTreesRegressor

from research.uses.quality import Course

TREES = 100
FOLDS = 6
"""Groups of finished runs; each is told what the recipes of the others let expect of it."""


def left_out(
    recipes: Float[np.ndarray, "runs recipe"], finals: Float[np.ndarray, "runs 3"], seed: int
) -> Float[np.ndarray, "runs 3"]:
    """What the recipes of other runs let expect of each; the mean of all for a single run."""
    expected = np.tile(finals.mean(0), (len(finals), 1))
    for fold in range(FOLDS):
        out = np.arange(len(finals)) % FOLDS == fold
        if out.any() and not out.all():
            expected[out] = grow(recipes[~out], finals[~out], seed).predict(recipes[out])
    return expected


def recipes_of(courses: Sequence[Course]) -> Float[np.ndarray, "runs recipe"]:
    """Recipes, one a row."""
    return np.stack([course.recipe for course in courses])


def grow(
    x: Float[np.ndarray, "n features"], y: Float[np.ndarray, "n 3"], seed: int
) -> ExtraTreesRegressor:
    """Extremely randomised trees (Geurts et al., 2006), of final metrics from recipes."""
    return ExtraTreesRegressor(TREES, random_state=seed).fit(x, y)
