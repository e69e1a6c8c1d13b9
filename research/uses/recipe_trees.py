"""What a recipe alone lets expect of a run that was never started."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from sklearn.ensemble import ExtraTreesRegressor

from epsvae.errors import EpsvaeError
from research.uses.quality import Course

TREES = 100
FOLDS = 6
"""Groups of finished runs; each is told what the recipes of the others let expect of it."""


def left_out(
    recipes: Float[np.ndarray, "runs recipe"], finals: Float[np.ndarray, "runs 3"], seed: int
) -> Float[np.ndarray, "runs 3"]:
    """What the recipes of other runs let expect of each; the mean of all for a single run.

    Raises EpsvaeError as `grow` does.
    """
    _refuse_unknown(recipes, finals)
    expected = np.tile(finals.mean(0), (len(finals), 1))
    for fold in range(FOLDS):
        out = np.arange(len(finals)) % FOLDS == fold
        if out.any() and not out.all():
            expected[out] = grow(recipes[~out], finals[~out], seed).predict(recipes[out])
    return expected


def recipes_of(courses: Sequence[Course]) -> Float[np.ndarray, "runs recipe"]:
    """Recipes, one a row; raises EpsvaeError if a run has none, or there is no run."""
    if not courses or not all(len(course.recipe) for course in courses):
        without = "a run without" if courses else "no runs"
        raise EpsvaeError(f"courses: expected a recipe of each run, found {without}")
    return np.stack([course.recipe for course in courses])


def grow(
    x: Float[np.ndarray, "n features"], y: Float[np.ndarray, "n 3"], seed: int
) -> ExtraTreesRegressor:
    """Extremely randomised trees (Geurts et al., 2006), of final metrics from recipes.

    Raises EpsvaeError for no runs and for numbers that are not finite.
    """
    _refuse_unknown(x, y)
    return ExtraTreesRegressor(TREES, random_state=seed).fit(x, y)


def _refuse_unknown(x: Float[np.ndarray, "n features"], y: Float[np.ndarray, "n 3"]) -> None:
    if not len(x) or not (np.isfinite(x).all() and np.isfinite(y).all()):
        raise EpsvaeError(
            f"runs: expected finite recipes and final metrics of at least one, found "
            f"{int(np.isfinite(x).all(axis=1).sum())} and {int(np.isfinite(y).all(axis=1).sum())}"
        )
