"""Embeddings drawn in the Poincaré disk: the boundary, the points, coloured by valuation."""

import numpy as np
from jaxtyping import Float, Int
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.patches import Circle

from tools.plots.style import valuation_colours, valuation_norm

__all__ = ["disk_axes", "draw_disk", "to_disk"]


def disk_axes(points: Float[np.ndarray, "n dim"]) -> Float[np.ndarray, "dim 2"]:
    """The two directions along which points spread most: the plane that a disk shows."""
    _, _, directions = np.linalg.svd(points - points.mean(0), full_matrices=False)
    # The sign of a singular vector is arbitrary; fixed here so that figures repeat.
    signs = np.sign(directions[np.arange(2), np.abs(directions[:2]).argmax(1)])
    return (directions[:2] * signs[:, None]).T


def to_disk(
    points: Float[np.ndarray, "n dim"], axes: Float[np.ndarray, "dim 2"]
) -> Float[np.ndarray, "n 2"]:
    """Points of the ball in the disk: the distance from the centre is kept exactly, the angle is
    that of the projection on a plane."""
    flat = points @ axes
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.maximum(length, 1e-9) * np.linalg.norm(points, axis=1, keepdims=True)


def draw_disk(
    ax: Axes,
    points: Float[np.ndarray, "n dim"],
    valuations: Int[np.ndarray, "n"],
    axes: Float[np.ndarray, "dim 2"] | None = None,
) -> PathCollection:
    """Draw points of the ball; `axes` of another embedding make two disks comparable."""
    flat = to_disk(points, disk_axes(points) if axes is None else axes)
    ax.add_patch(Circle((0, 0), 1, facecolor="none", edgecolor="0.4", linewidth=1))
    order = np.argsort(valuations)
    drawn = ax.scatter(
        flat[order, 0],
        flat[order, 1],
        c=valuations[order],
        s=14 + 5 * valuations[order],
        cmap=valuation_colours(),
        norm=valuation_norm(),
        linewidths=0.3,
        edgecolors="white",
    )
    ax.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal", xticks=[], yticks=[])
    ax.grid(False)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return drawn
