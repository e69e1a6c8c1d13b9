"""Write a release from what was built, and compare two releases number by number."""

import json
import logging
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from epsvae.atomic import replacing
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.files import sha256_of
from epsvae.subjects.ternary.library.index import INDEX, read_index
from epsvae.subjects.ternary.library.layout import key_layout
from epsvae.subjects.ternary.map.data import MapData, all_weights
from epsvae.subjects.ternary.map.files import AnyMap, save_map
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.release import MANIFEST, Release
from research.statistics import split_statistics, statistic_names

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test")
CARRIED: Mapping[str, tuple[str, int]] = {
    "frozen": ("test", 1),
    "progressive": ("test", 1),
    "unfrozen": ("test", 1),
    "homeostatic": ("test", 1),
}
"""Aligned test runs whose checkpoint files a release carries: how many of each regime."""
ARRAYS_CARRIED = {"aligned": SPLITS, "unaligned": ("validation", "test")}
"""Splits whose embeddings and statistics a release carries: 70 MB are soon full."""
COORDINATES = ("steered",)
"""Tables of points of a map, which mean nothing on another map."""
ENCODE_BATCH = 64


def publish_map(release: Path, library: str, data: MapData, model: AnyMap) -> None:
    """A map, and where it places the checkpoints that it learned from or was held out from."""
    folder = release / library
    folder.mkdir(parents=True, exist_ok=True)
    save_map(model, folder / "map.pt")
    placed = [
        _keys(split).join(pd.DataFrame(encode_split(model, split)).add_prefix("z"))
        for split in map(data.split, SPLITS)
    ]
    write_table(pd.concat(placed, ignore_index=True), folder / "z.parquet")


def publish_arrays(release: Path, library: str, data: MapData) -> None:
    """Embeddings and layer statistics of the checkpoints of some splits."""
    folder = release / library
    folder.mkdir(parents=True, exist_ok=True)
    names = statistic_names(key_layout(data.train.architecture))
    statistics = []
    for name in ARRAYS_CARRIED[library]:
        split = data.split(name)
        with replacing(folder / f"{name}_embeddings.npy") as new, new.open("wb") as file:
            np.save(file, split.embeddings[:].astype(np.float16))
        values = split_statistics(split).astype(np.float32)
        statistics.append(_keys(split).join(pd.DataFrame(values, columns=list(names))))
    write_table(pd.concat(statistics, ignore_index=True), folder / "statistics.parquet")


def _keys(split: ExtractedSplit) -> pd.DataFrame:
    """What names a checkpoint in the tables of a release."""
    return split.index[["split", "run", "epoch"]].reset_index(drop=True)


@torch.no_grad()
def encode_split(model: AnyMap, split: ExtractedSplit) -> np.ndarray:
    """z of every checkpoint of a split, (n, 64) float32."""
    n = len(split.metrics)
    starts = range(0, n, ENCODE_BATCH)
    batches = (all_weights(split, slice(start, start + ENCODE_BATCH)) for start in starts)
    return np.concatenate([model.encode(weights).numpy() for weights in batches])


def publish_checkpoints(release: Path, root: Path) -> None:
    """The index of everything, and the files of the runs in `CARRIED`."""
    index = read_index(root)
    release.mkdir(parents=True, exist_ok=True)
    write_table(index, release / INDEX)
    shutil.rmtree(release / "checkpoints", ignore_errors=True)
    for run in carried_runs(index):
        for file in index.loc[index["run"] == run, "file"]:
            target = release / "checkpoints" / run / Path(file).name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(root / file, target)


def carried_runs(index: pd.DataFrame) -> Iterator[str]:
    """Names of the aligned runs that a release carries whole: the first started of each regime."""
    aligned = index[index["library"] == "aligned"]
    for regime, (split, n_runs) in CARRIED.items():
        runs = aligned[(aligned["regime"] == regime) & (aligned["split"] == split)]
        yield from runs.sort_values("started")["run"].unique()[:n_runs]


def carry_over(reference: Path, release: Path) -> None:
    """Copy the tables that only `make study` rebuilds, so that every chapter finds its own."""
    for table in sorted(reference.glob("*.parquet")):
        if table.stem not in COORDINATES and not (release / table.name).is_file():
            log.info("  %s: the reference's, until make study rebuilds it", table.name)
            with replacing(release / table.name) as temporary:
                shutil.copyfile(table, temporary)


def metric_predictions(
    rows: Mapping[str, Mapping[str, Prediction]], data: MapData, library: str
) -> pd.DataFrame:
    """Every row's predicted metrics beside the true ones, one line a row and checkpoint.

    `rows` has each row's predictions on each of `SPLITS`. They are written in single precision: a
    release has little room.
    """
    frames = []
    for name, predictions in rows.items():
        for split in SPLITS:
            truth = data.split(split).index[["run", "regime", "epoch", *METRIC_NAMES]]
            predicted = pd.DataFrame(
                predictions[split].metrics.astype(np.float32),
                columns=[f"predicted_{m}" for m in METRIC_NAMES],
            )
            keys = {"library": library, "split": split, "row": name}
            frames.append(truth.reset_index(drop=True).join(predicted).assign(**keys))
    return pd.concat(frames, ignore_index=True)


def write_table(frame: pd.DataFrame, path: Path) -> None:
    """Write a parquet file, at once."""
    with replacing(path) as temporary:
        frame.to_parquet(temporary, index=False, compression="zstd", compression_level=19)


def write_manifest(release: Path, scale: str, seconds: Mapping[str, float]) -> None:
    """Where a release comes from: commit, versions, seconds of each stage, hash of each file."""
    manifest = {
        "scale": scale,
        "commit": _commit(),
        "versions": {name: version(name) for name in ("numpy", "scikit-learn", "torch")},
        "python": platform.python_version(),
        "processor": platform.machine(),
        "seconds": dict(seconds),
        "files": _hashes(release),
    }
    _write_json(manifest, release / MANIFEST)


def refresh_manifest(release: Path) -> None:
    """Bring the hashes of a release up to date after tables were added; the rest stays."""
    manifest = json.loads((release / MANIFEST).read_text())
    _write_json({**manifest, "files": _hashes(release)}, release / MANIFEST)


def _hashes(release: Path) -> dict[str, str]:
    files = sorted(path for path in release.rglob("*") if path.is_file() and path.name != MANIFEST)
    return {path.relative_to(release).as_posix(): sha256_of(path) for path in files}


def _write_json(contents: Mapping[str, object], path: Path) -> None:
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(contents, indent=1) + "\n")


def _commit() -> str:
    """The commit of the source, or ``unknown`` outside a checkout."""
    command = ["git", "rev-parse", "HEAD"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    return answer.stdout.strip() if answer.returncode == 0 else "unknown"


def compare(new: Release, reference: Release) -> pd.DataFrame:
    """The new validation table beside the reference's, with whether each interval holds the other.

    Columns regime, split, row, measure, reference, new, difference, agrees. Training on another
    processor moves digits: two releases agree where the reference's interval holds the new value.
    """
    keys = ["regime", "split", "row", "measure"]
    both = reference.table("validation").merge(
        new.table("validation")[[*keys, "value"]], on=keys, suffixes=("", "_new"), how="outer"
    )
    both["difference"] = both["value_new"] - both["value"]
    same = np.isclose(both["value"], both["value_new"], equal_nan=True)
    both["agrees"] = both["value_new"].between(both["low"], both["high"]) | same
    return both.rename(columns={"value": "reference", "value_new": "new"})[
        [*keys, "reference", "new", "difference", "agrees"]
    ]


HEADLINE = ("embedding_r2", "coverage_mae", "distance_correlation_mae", "radial_hierarchy_mae")


def summary(compared: pd.DataFrame) -> str:
    """A comparison in words: the default map on test runs, and every value that does not agree."""
    default = (compared["row"] == "default") & (compared["split"] == "test")
    shown = compared[default & compared["measure"].isin(HEADLINE)].drop(columns=["split", "row"])
    differing = compared[~compared["agrees"]]
    lines = [
        "The default map on test runs:",
        shown.to_string(index=False, float_format="{:.4f}".format),
        f"{compared['agrees'].sum()} of {len(compared)} values lie in the reference's intervals.",
    ]
    if len(differing):
        lines += ["The others:", differing.to_string(index=False, float_format="{:.4f}".format)]
    return "\n".join(lines)
