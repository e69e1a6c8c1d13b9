"""A training run as a path through z: length, direction, turning, speed.

Everything is per epoch where it can be, so that runs whose checkpoints lie closer together are not
taken to be slower. Laws: the length is at least the distance from the first to the last point;
angles, lengths and straightness do not change when z is turned or shifted.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from epsvae.errors import EpsvaeError

WINDOW = 4.0
"""Epochs over which a velocity is taken: a single step holds too much noise."""
SLACK = 1e-9
"""Epochs that differ by less are equal."""


@dataclass(frozen=True, eq=False)
class Trajectory:
    """The n checkpoints of one run, in the order of their epochs.

    Raises EpsvaeError if there are none, if a number is not finite and if an epoch comes twice or
    out of order. One checkpoint is a path of length 0; equal checkpoints are steps of length 0.
    """

    epochs: Float[np.ndarray, "n"]
    z: Float[np.ndarray, "n latent"]
    run: str = ""

    def __post_init__(self) -> None:
        where = f"run {self.run!r}"
        if self.z.ndim != 2 or not len(self.z) or self.epochs.shape != (len(self.z),):
            raise EpsvaeError(
                f"{where}: expected checkpoints with an epoch each, found z of shape "
                f"{self.z.shape} and {self.epochs.shape} epochs"
            )
        if not (np.isfinite(self.z).all() and np.isfinite(self.epochs).all()):
            raise EpsvaeError(f"{where}: expected finite z and epochs, found NaN or infinity")
        if (np.diff(self.epochs) <= SLACK).any():
            raise EpsvaeError(f"{where}: expected rising epochs, found {self.epochs.tolist()}")

    def __len__(self) -> int:
        return len(self.z)

    @property
    def steps(self) -> Float[np.ndarray, "steps latent"]:
        """From each checkpoint to the next."""
        return np.diff(self.z, axis=0)

    @property
    def step_lengths(self) -> Float[np.ndarray, "steps"]:
        """Their Euclidean lengths in z."""
        return np.linalg.norm(self.steps, axis=1)

    @property
    def speeds(self) -> Float[np.ndarray, "steps"]:
        """Length per epoch of each step."""
        return self.step_lengths / np.diff(self.epochs)

    @property
    def length(self) -> float:
        """How far the run went, bends included."""
        return float(self.step_lengths.sum())

    @property
    def direction(self) -> Float[np.ndarray, "latent"]:
        """From the first checkpoint to the last."""
        return self.z[-1] - self.z[0]

    @property
    def straightness(self) -> float:
        """Distance from first to last over length, in [0, 1]; NaN for a run that never moved."""
        if self.length == 0:
            return float("nan")
        return float(np.linalg.norm(self.direction)) / self.length

    @property
    def turning_angles(self) -> Float[np.ndarray, "turns"]:
        """Angle in radians, 0 to pi, between each step and the next; NaN beside a step of length
        0, which has no direction."""
        return np.arccos(np.clip(cosines(self.steps[:-1], self.steps[1:]), -1, 1))

    @property
    def curvatures(self) -> Float[np.ndarray, "turns"]:
        """Turning angle per unit of length: over half of the two steps that meet; NaN as above."""
        around = (self.step_lengths[:-1] + self.step_lengths[1:]) / 2
        return np.divide(
            self.turning_angles, around, out=np.full(len(around), np.nan), where=around > 0
        )

    @property
    def smoothness(self) -> float:
        """How step lengths grow when every second checkpoint is left out, as a power of two.

        1 for a straight path, 1/2 for a random walk, 0 for jumps to and fro; NaN for fewer than
        three checkpoints and for a run that never moved.
        """
        if len(self) < 3 or self.length == 0:
            return float("nan")
        double = np.linalg.norm(self.z[2:] - self.z[:-2], axis=1).mean()
        return float(np.log2(max(double, SLACK) / self.step_lengths.mean()))

    def velocities(self, window: float = WINDOW) -> Float[np.ndarray, "n latent"]:
        """Net movement per epoch over the last `window` epochs or a little more; NaN before."""
        return over_window(self.z, self.epochs, window)

    def paces(self, window: float = WINDOW) -> Float[np.ndarray, "n"]:
        """Length of `velocities`: to and fro counts nothing."""
        return np.linalg.norm(self.velocities(window), axis=1)

    def until(self, epoch: float) -> "Trajectory":
        """The checkpoints up to an epoch; raises EpsvaeError if there are none."""
        kept = self.epochs <= epoch + SLACK
        return replace(self, epochs=self.epochs[kept], z=self.z[kept])


def window_starts(
    epochs: Float[np.ndarray, "n"], window: float = WINDOW
) -> tuple[Int[np.ndarray, "n"], Bool[np.ndarray, "n"]]:
    """For each checkpoint, the latest one at least `window` epochs before; and whether there is.

    Raises EpsvaeError for a window that is not positive.
    """
    if not window > 0:
        raise EpsvaeError(f"window: expected a positive number of epochs, found {window}")
    starts = np.searchsorted(epochs, epochs - window + SLACK, side="right") - 1
    return np.maximum(starts, 0), starts >= 0


def over_window(
    values: Float[np.ndarray, "n *rest"], epochs: Float[np.ndarray, "n"], window: float = WINDOW
) -> Float[np.ndarray, "n *rest"]:
    """Change per epoch of any values since `window_starts`; NaN where there is no start."""
    starts, known = window_starts(epochs, window)
    change = np.full(values.shape, np.nan)
    spans = (epochs - epochs[starts])[known].reshape(-1, *[1] * (values.ndim - 1))
    change[known] = (values - values[starts])[known] / spans
    return change


def cosines(
    a: Float[np.ndarray, "n latent"], b: Float[np.ndarray, "n latent"]
) -> Float[np.ndarray, "n"]:
    """Cosine of the angle between rows; NaN for a zero row."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.divide((a * b).sum(1), norms, out=np.full(len(a), np.nan), where=norms > 0)


def trajectories(latents: pd.DataFrame) -> list[Trajectory]:
    """The runs of a table of z (columns run, epoch, z0, z1, ...), in the table's order.

    An empty table has no runs. Raises EpsvaeError as `Trajectory` does.
    """
    return list(_runs(latents))


def _runs(latents: pd.DataFrame) -> Iterator[Trajectory]:
    z_columns = latents.filter(regex=r"^z\d+$").columns
    for run, part in latents.groupby("run", sort=False):
        ordered = part.sort_values("epoch", kind="stable")
        yield Trajectory(
            ordered["epoch"].to_numpy(dtype=float),
            ordered[z_columns].to_numpy(dtype=float),
            str(run),
        )
