"""Which checkpoints are like this one? A library's places on a map, and the search among them.

Distance in z is proportional to distance between the anchors' answers, as far as the map reads them
right; the last coordinates hold the metrics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import EpsvaeError
from epsvae.map.calibrated import CalibratedMap, each_file, look_at
from epsvae.subject import Metric
from epsvae.uses.average import nearest, refuse_infinite
from epsvae.uses.cluster import LOOSE, cluster_by_means


@dataclass(frozen=True, eq=False)
class Places:
    """Checkpoints and where they lie on a map."""

    table: pd.DataFrame
    """Columns `columns(metrics)`. Metrics are the file's own if `measured`, else the map's
    predictions. `off_map` is NaN without a calibration; `flag` is true off the map."""
    z: Float[Tensor, "n latent"]
    metrics: tuple[Metric, ...]
    refused: list[str] = field(default_factory=list)
    """Why other files have no place."""


def columns(metrics: Sequence[Metric]) -> list[str]:
    """Columns of a table of places."""
    names = [metric.name for metric in metrics]
    return ["file", "run", "epoch", *names, "measured", "off_map", "flag"]


@torch.no_grad()
def place_files(asked: CalibratedMap, files: Sequence[Path | str]) -> Places:
    """Encode checkpoint files; a folder stands for the files in it, at any depth.

    A file's run is what it says of itself, else the name of its folder. What cannot be read is
    refused with its reason and does not stop the others.
    """
    placed, refused = each_file(asked, files, lambda file, c: _place(asked, file, c))
    rows, points = [row for row, _ in placed], [z for _, z in placed]
    z = torch.stack(points) if points else torch.zeros(0, asked.latent_dim)
    table = pd.DataFrame(rows, columns=columns(asked.metrics))
    return Places(table, z, asked.metrics, refused)


def _place(
    asked: CalibratedMap, file: Path, checkpoint: Any
) -> tuple[dict[str, object], Float[Tensor, "latent"]]:
    place, facts = look_at(asked, checkpoint, file), asked.facts(checkpoint)
    names = [metric.name for metric in asked.metrics]
    stated = facts.metrics or {}
    known = set(names) <= set(stated)
    values = [stated[name] for name in names] if known else place.metrics.tolist()
    about = {
        "file": str(file),
        "run": facts.run or file.parent.name,
        "epoch": np.nan if facts.epoch is None else facts.epoch,
        "measured": known,
        "off_map": place.off_map,
        "flag": place.flag,
    }
    return about | dict(zip(names, values, strict=True)), place.z


def find_similar(known: Places, z: Float[Tensor, "latent"], k: int = 5) -> pd.DataFrame:
    """The k known checkpoints nearest to z, nearest first: `COLUMNS` and `distance`.

    All of them if fewer are known. Raises EpsvaeError if none is, and for a z that is not finite.
    """
    refuse_infinite(z[None])
    if not len(known.z):
        raise EpsvaeError("library: expected at least one checkpoint, found none")
    rows = nearest(z[None], known.z, min(k, len(known.z)))[0]
    distance = (known.z[rows] - z).norm(dim=-1).numpy()
    found = known.table.iloc[rows.numpy()].reset_index(drop=True)
    return found.assign(distance=distance.astype(float))


def organise(
    asked: CalibratedMap, files: Sequence[Path | str], k: int = 5, seed: int = 0
) -> Places:
    """Files or folders in clusters: `place_files`, and KMeans labels in a column `cluster`.

    Checkpoints off the map stay out of the clusters, with the label `LOOSE`. Raises EpsvaeError if
    fewer than k different ones are left.
    """
    places = place_files(asked, files)
    inside = ~places.table["flag"].to_numpy(dtype=bool)
    labels = np.full(len(inside), LOOSE)
    labels[inside] = cluster_by_means(places.z[torch.from_numpy(inside)], k, seed)
    return replace(places, table=places.table.assign(cluster=labels))


def readable(places: Places, known: Places, k: int) -> str:
    """For each placed checkpoint a line about itself, and its k nearest; ``~`` marks predictions.

    Raises EpsvaeError if nothing is known to search in.
    """
    blocks = []
    for row, z in zip(places.table.to_dict("records"), places.z, strict=True):
        score = "" if np.isnan(row["off_map"]) else f", off map {row['off_map']:.2f}"
        title = f"{row['file']}{score}{' OFF MAP' if row['flag'] else ''}"
        blocks.append(f"{title}\n{_lines(find_similar(known, z, k), known.metrics)}")
    return "\n\n".join(blocks)


def _lines(found: pd.DataFrame, metrics: Sequence[Metric]) -> str:
    shown = found[["distance", "run", "epoch"]].copy()
    shown["distance"] = [f"{value:.3f}" for value in found["distance"]]
    shown["epoch"] = ["?" if np.isnan(value) else f"{value:g}" for value in found["epoch"]]
    marks = ["" if measured else "~" for measured in found["measured"]]
    for name in (metric.name for metric in metrics):
        pairs = zip(marks, found[name], strict=True)
        shown[name] = [f"{mark}{value:.3f}" for mark, value in pairs]
    shown["file"] = found["file"]
    return shown.to_string(index=False)
