"""Quality in one number, and what is known of a run while it goes on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.map.files import AnyMap
from epsvae.subjects.ternary.map.release import Release, z_of

QUALITY = (1 / 3, 1 / 3, -1 / 3)
"""Weights of the metrics in one number: coverage and distance correlation should be high, radial
hierarchy low. The choice is ours; every function takes another."""
RECIPE = (
    "lr",
    "encoder_a_lr_scale",
    "encoder_b_lr_scale",
    "radial_weight",
    "geodesic_weight",
    "unfreeze_start",
    "coverage_floor",
    "max_radius",
    "epochs",
)
"""Columns of an index that are settled before a run starts, and so may be known."""
DIGITS = 5
"""Of what the trees read: the last bits of a processor should not move a branch."""

FloatArray = Float[np.ndarray, "..."]
Weights = Sequence[float | int]
"""One a metric, in the order of `METRIC_NAMES`."""


def quality(metrics: FloatArray, weights: Weights = QUALITY) -> FloatArray:
    """One number from the last axis of three metrics; higher is better, 1 out of reach."""
    return np.asarray(metrics @ np.asarray(weights, dtype=float))


@dataclass(frozen=True, eq=False)
class Course:
    """What is known of one run while it goes on, at n checkpoints.

    Raises EpsvaeError if there is none, if a number is not finite, and if the shares do not rise
    within (0, 1]: an epoch that comes twice, or one beyond the plan.
    """

    run: str
    shares: Float[np.ndarray, "n"]
    """Share of the planned epochs that is done."""
    metrics: Float[np.ndarray, "n 3"]
    """Metrics as the reader knows them: predicted, or measured."""
    places: Float[np.ndarray, "n places"]
    """What else is read at a checkpoint, such as z; no columns for nothing."""
    recipe: Float[np.ndarray, "recipe"]
    """What was settled before the start; empty for nothing."""

    def __post_init__(self) -> None:
        if not len(self.shares):
            raise EpsvaeError(f"run {self.run!r}: expected at least one checkpoint, found none")
        numbers = (self.shares, self.metrics, self.places, self.recipe)
        if not all(np.isfinite(part).all() for part in numbers):
            raise EpsvaeError(f"run {self.run!r}: expected finite numbers, found NaN or infinity")
        if not (np.diff(self.shares, prepend=0) > 0).all() or self.shares[-1] > 1 + 1e-9:
            raise EpsvaeError(
                f"run {self.run!r}: expected shares of the plan that rise within (0, 1], "
                f"found {self.shares.tolist()}"
            )

    def first(self, n: int) -> "Course":
        """The run as it stood at its n-th checkpoint, or now if it has fewer."""
        early = {name: getattr(self, name)[:n] for name in ("shares", "metrics", "places")}
        return replace(self, **early)

    def features(self) -> Float[np.ndarray, "n features"]:
        """What the trees read at each checkpoint: state, speed since the one before, share, recipe.

        Nothing of a later checkpoint. The first one has no speed: 0.
        """
        state = np.column_stack([self.metrics, self.places])
        speed = np.zeros_like(state)
        speed[1:] = np.diff(state, axis=0) / np.diff(self.shares)[:, None]
        recipe = np.broadcast_to(self.recipe, (len(state), len(self.recipe)))
        return np.column_stack([state, speed, self.shares, recipe]).round(DIGITS)


def courses_of(
    table: pd.DataFrame,
    metrics: Float[np.ndarray, "n 3"],
    places: Float[np.ndarray, "n places"] | None = None,
    recipe: Sequence[str] = (),
) -> list[Course]:
    """The runs of an index (columns run, epoch, epochs and those of `recipe`), sorted by name.

    `metrics` and `places` are given row by row; no places and no recipe by default.
    """
    places = np.zeros((len(table), 0)) if places is None else places
    table = table.reset_index(drop=True)
    return [
        Course(
            str(run),
            (rows["epoch"] / rows["epochs"]).to_numpy(dtype=float),
            metrics[rows.index],
            places[rows.index],
            rows[list(recipe)].iloc[0].to_numpy(dtype=float),
        )
        for run, rows in table.sort_values("epoch", kind="stable").groupby("run")
    ]


def release_courses(
    release: Release, library: str, split: str, measured: bool, recipe: bool
) -> list[Course]:
    """Runs of a release as a reader knows them, sorted by name.

    By z and the metrics that the map predicts, or by `measured` metrics alone; and by `recipe`.
    Both are the release's own numbers: predicted anew they would differ in digits from one
    processor to the next, and trees grown on them in more than digits.
    """
    table, names = release.rows(library, split), RECIPE if recipe else ()
    if measured:
        return courses_of(table, table[list(METRIC_NAMES)].to_numpy(dtype=float), None, names)
    told = release.table("predictions").query("row == 'default' and library == @library")
    columns = [f"predicted_{name}" for name in METRIC_NAMES]
    keys = ["split", "run", "epoch"]
    known = release.latents(library).merge(told[[*keys, *columns]], on=keys)
    rows = table[keys].merge(known, how="left", on=keys)
    return courses_of(table, rows[columns].to_numpy(dtype=float), z_of(rows).astype(float), names)


def by_step(
    forecast: Callable[[Sequence[Course]], Float[np.ndarray, "runs 3"]],
    courses: Sequence[Course],
    steps: int,
) -> Float[np.ndarray, "steps runs 3"]:
    """What a forecast says after the first checkpoint of each run, after the second, and so on."""
    early = ([course.first(n) for course in courses] for n in range(1, steps + 1))
    return np.stack([forecast(runs) for runs in early])


def predicted_metrics(model: AnyMap, z: Float[np.ndarray, "n latent"]) -> Float[np.ndarray, "n 3"]:
    """What the map predicts for each z, as float64."""
    with torch.no_grad():
        return model.predict_metrics(torch.tensor(z, dtype=torch.float32)).double().numpy()


def final_metrics(table: pd.DataFrame) -> Float[np.ndarray, "runs 3"]:
    """Measured metrics of the last checkpoint of each run of an index, runs sorted by name."""
    last = table.sort_values("epoch", kind="stable").groupby("run").tail(1).sort_values("run")
    return last[list(METRIC_NAMES)].to_numpy(dtype=float)
