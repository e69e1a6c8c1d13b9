"""How good will a run be when it ends? Its final metrics, told from its first checkpoints.

Trees that were grown on finished runs add the change that is still to come:

    final = now + change(now, speed, share of the plan that is done)

Where the recipe is known, what it alone lets expect is told to the trees as well.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.ensemble import ExtraTreesRegressor

from epsvae.bootstrap import run_weights
from epsvae.errors import EpsvaeError
from epsvae.map.intervals import LEVEL, run_quantile
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.map.calibration import LOWEST
from epsvae.subjects.ternary.map.look import TernaryMap, epsilon_vae
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.uses.follow import follow
from epsvae.uses.trajectory import Trajectory
from research.uses.quality import QUALITY, Course, Weights, predicted_metrics, quality
from research.uses.recipe_trees import TREES, grow, left_out, recipes_of


@dataclass(frozen=True, eq=False)
class QualityForecaster:
    """Trees grown on finished runs, and what they were worth on runs left out of them."""

    trees: ExtraTreesRegressor
    prior: ExtraTreesRegressor | None
    """Final metrics from the recipe; None if runs are known without one."""
    runs: np.ndarray
    """Run of each row: a checkpoint of a finished run."""
    shares: Float[np.ndarray, "rows"]
    residuals: Float[np.ndarray, "known 3"]
    """True minus forecast final metrics, of runs in other folds; no rows if there were no folds."""

    def __call__(self, courses: Sequence[Course]) -> Float[np.ndarray, "m 3"]:
        """Final metrics of m runs, told from all their checkpoints.

        Raises EpsvaeError if they are not described as the runs that the trees know.
        """
        if not courses:
            return np.zeros((0, len(METRIC_NAMES)))
        rows = np.stack([course.features()[-1] for course in courses])
        expected = self.trees.n_features_in_ - (len(METRIC_NAMES) if self.prior else 0)
        if rows.shape[1] != expected:
            raise EpsvaeError(
                f"courses: expected {expected} features a checkpoint, as in the "
                f"runs that the forecaster knows, found {rows.shape[1]}"
            )
        if self.prior:
            rows = np.column_stack([rows, self.prior.predict(recipes_of(courses))])
        now = np.stack([course.metrics[-1] for course in courses])
        return np.clip(now + self.trees.predict(rows), LOWEST, 1.0)

    def half_width(self, share: float, weights: Weights, level: float = LEVEL) -> float:
        """Half of a conformal interval for a weighted sum of the final metrics.

        Each run left out gives one error, that of its checkpoint nearest to this share of the plan;
        with n runs it is the (n + 1) x level-th smallest. Infinite with too few runs.
        """
        errors, known = np.abs(quality(self.residuals, weights)), np.unique(self.runs)
        nearest = [self._nearest(run, share) for run in known]
        return run_quantile(errors[nearest], known, level) if len(errors) else float("inf")

    def _nearest(self, run: object, share: float) -> int:
        return int(np.where(self.runs == run, np.abs(self.shares - share), np.inf).argmin())


def fit_quality_forecaster(
    courses: Sequence[Course],
    finals: Float[np.ndarray, "runs 3"],
    folds: int = 0,
    seed: int = 0,
) -> QualityForecaster:
    """Grow the trees on finished runs, whose final metrics were measured.

    Every run weighs the same. `folds` groups of runs are left out in turn to learn the width of
    intervals; 0 for none. Raises EpsvaeError without a run, for a final metric that is unknown, for
    runs that are not described alike, and for a single fold, which would leave nobody to learn
    from.
    """
    if folds == 1:
        raise EpsvaeError("folds: expected 0, or at least 2, found 1")
    if not courses or len(courses) != len(finals) or not np.isfinite(finals).all():
        raise EpsvaeError(
            f"expected finished runs with finite final metrics, found {len(courses)} runs and "
            f"{int(np.isfinite(finals).all(axis=-1).sum())} finite rows of {len(finals)}"
        )
    lengths = [len(course.shares) for course in courses]
    features = [course.features() for course in courses]
    if len(widths := {part.shape[1] for part in features}) > 1:
        raise EpsvaeError(f"courses: expected as many features of each run, found {sorted(widths)}")
    x = np.concatenate(features)
    runs = np.repeat(np.array([course.run for course in courses], dtype=object), lengths)
    prior = None
    if len(courses[0].recipe):
        recipes = recipes_of(courses)
        prior = grow(recipes, finals, seed)
        x = np.column_stack([x, np.repeat(left_out(recipes, finals, seed), lengths, axis=0)])
    change = np.repeat(finals, lengths, axis=0) - np.concatenate([c.metrics for c in courses])
    model = ExtraTreesRegressor(TREES, min_samples_leaf=3, max_features=0.5, random_state=seed)
    model.fit(x, change, sample_weight=run_weights(runs))
    shares = np.concatenate([course.shares for course in courses])
    return QualityForecaster(model, prior, runs, shares, _residuals(courses, finals, folds, seed))


def _residuals(
    courses: Sequence[Course], finals: Float[np.ndarray, "runs 3"], folds: int, seed: int
) -> Float[np.ndarray, "rows 3"]:
    """True minus forecast final metrics at each checkpoint, by trees that do not know the run."""
    n_folds = min(folds, len(courses)) if len(courses) > 1 else 0
    found = [np.zeros((0, len(METRIC_NAMES))) for _ in courses]
    for fold in range(n_folds):
        rest = [i for i in range(len(courses)) if i % n_folds != fold]
        forecaster = fit_quality_forecaster([courses[i] for i in rest], finals[rest], 0, seed)
        for i in range(fold, len(courses), n_folds):
            steps = range(1, 1 + len(courses[i].shares))
            found[i] = finals[i] - forecaster([courses[i].first(n) for n in steps])
    return np.concatenate(found)


def forecast_folder(
    folder: Path | str,
    asked: TernaryMap,
    forecaster: QualityForecaster,
    epochs: float | int,
    weights: Weights = QUALITY,
) -> pd.DataFrame:
    """Forecast the runs in a folder of checkpoint files; each directory is one run of `epochs`.

    One row a run: run, epoch (of its last checkpoint), now_ and final_ of each metric, quality, and
    the ends low and high of its interval. The forecaster must know runs by z alone. With a
    calibrated map, files off it are left out. Raises EpsvaeError if the map reads no file there
    (see `follow`), and for a run that is longer than planned.
    """
    if not epochs > 0:
        raise EpsvaeError(f"epochs: expected a positive number of planned ones, found {epochs}")
    paths, model = follow(folder, asked).paths, epsilon_vae(asked)
    courses = [_course(path, model, epochs) for path in paths]
    now, final = np.stack([c.metrics[-1] for c in courses]), forecaster(courses)
    half = np.array([forecaster.half_width(c.shares[-1], weights) for c in courses])
    table = pd.DataFrame({"run": [path.run for path in paths]})
    table["epoch"] = [float(path.epochs[-1]) for path in paths]
    table[[f"now_{name}" for name in METRIC_NAMES]] = now
    table[[f"final_{name}" for name in METRIC_NAMES]] = final
    table["quality"] = quality(final, weights)
    return table.assign(low=table["quality"] - half, high=table["quality"] + half)


def _course(path: Trajectory, model: EpsilonVAE, epochs: float | int) -> Course:
    z = path.z.astype(float)
    return Course(path.run, path.epochs / epochs, predicted_metrics(model, z), z, np.zeros(0))
