"""Which checkpoints are like this one? A library's places on a map, and the search among them.

Distance in z is proportional to distance between embeddings, as far as the map reads them right;
three more coordinates hold the metrics.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import EpsvaeError
from epsvae.library.files import Checkpoint
from epsvae.map.calibration import Calibration
from epsvae.map.look import look_finite
from epsvae.map.model import EpsilonVAE
from epsvae.map.predict import each_file
from epsvae.map.release import open_release, z_of
from epsvae.ternary import METRIC_NAMES, Metrics
from epsvae.uses.average import nearest
from epsvae.uses.cluster import LOOSE, cluster_by_means
from epsvae.uses.decode import refuse_infinite

COLUMNS = ("file", "run", "epoch", *METRIC_NAMES, "measured", "off_map", "flag")


@dataclass(frozen=True, eq=False)
class Places:
    """Checkpoints and where they lie on a map."""

    table: pd.DataFrame
    """Columns `COLUMNS`. Metrics are the file's own if `measured`, else the map's predictions.
    `off_map` is NaN without a calibration; `flag` is true off the map."""
    z: Float[Tensor, "n latent"]
    refused: list[str] = field(default_factory=list)
    """Why other files have no place."""


@torch.no_grad()
def place_files(
    model: EpsilonVAE, files: Sequence[Path], calibration: Calibration | None = None
) -> Places:
    """Encode checkpoint files; a folder stands for the files in it, at any depth.

    A file's run is what it says of itself, else the name of its folder. What cannot be read is
    refused with its reason and does not stop the others.
    """
    placed, refused = each_file(files, lambda file, c: _place(model, file, c, calibration))
    rows, points = [row for row, _ in placed], [z for _, z in placed]
    z = torch.stack(points) if points else torch.zeros(0, model.config.latent_dim)
    return Places(pd.DataFrame(rows, columns=list(COLUMNS)), z, refused)


def _place(
    model: EpsilonVAE, file: Path, checkpoint: Checkpoint, calibration: Calibration | None
) -> tuple[dict[str, object], Float[Tensor, "latent"]]:
    seen = look_finite(model, checkpoint, calibration)
    known = checkpoint.metrics
    metrics = known or Metrics(*model.predict_metrics(seen.z).tolist())
    about = {
        "file": str(file),
        "run": checkpoint.run or file.parent.name,
        "epoch": np.nan if checkpoint.epoch is None else checkpoint.epoch,
        "measured": known is not None,
        "off_map": seen.off_map,
        "flag": seen.flag,
    }
    return about | asdict(metrics), seen.z


def release_places(folder: Path | str, library: str) -> Places:
    """Places of a library of a release, all splits, without reading a checkpoint; or of ``both``.

    Raises EpsvaeError if the release has no places of that library.
    """
    if not (Path(folder) / library / "z.parquet").is_file():
        raise EpsvaeError(
            f"{Path(folder) / library}: expected z.parquet, the places of a library, found none; "
            "a folder of checkpoints can be searched instead"
        )
    release = open_release(folder)
    keys = ["split", "run", "epoch"]  # names of runs say their library
    joined = release.latents(library).merge(release.index, on=keys, validate="1:1")
    table = joined.assign(measured=True, off_map=np.nan, flag=False)
    z = torch.from_numpy(z_of(joined))
    return Places(table[list(COLUMNS)], z)


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
    model: EpsilonVAE,
    files: Sequence[Path],
    k: int = 5,
    calibration: Calibration | None = None,
    seed: int = 0,
) -> Places:
    """Files or folders in clusters: `place_files`, and KMeans labels in a column `cluster`.

    Checkpoints off the map stay out of the clusters, with the label `LOOSE`. Raises EpsvaeError if
    fewer than k different ones are left.
    """
    places = place_files(model, files, calibration)
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
        blocks.append(f"{title}\n{_lines(find_similar(known, z, k))}")
    return "\n\n".join(blocks)


def _lines(found: pd.DataFrame) -> str:
    shown = found[["distance", "run", "epoch"]].copy()
    shown["distance"] = [f"{value:.3f}" for value in found["distance"]]
    shown["epoch"] = ["?" if np.isnan(value) else f"{value:g}" for value in found["epoch"]]
    marks = ["" if measured else "~" for measured in found["measured"]]
    for name in METRIC_NAMES:
        pairs = zip(marks, found[name], strict=True)
        shown[name] = [f"{mark}{value:.3f}" for mark, value in pairs]
    shown["file"] = found["file"]
    return shown.to_string(index=False)
