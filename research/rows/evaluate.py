"""The full protocol on one library: every row, every training seed, every regime; resumable."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
from jaxtyping import Float

from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.index import INDEX, read_index
from epsvae.subjects.ternary.map.data import ARRAYS as ARRAYS
from epsvae.subjects.ternary.map.data import (
    BOTH,
    MapData,
    load_both,
    load_map_data,
    mean_embedding,
    models_folder,
)
from epsvae.subjects.ternary.map.scores import Scores
from research.rows import ROWS
from research.rows.cells import Parts, fill_cell, read_prediction, read_seconds
from research.rows.foreign import FOREIGN, SPLIT, foreign_splits, score_foreign
from research.rows.later import LATER, later_in_the_run
from research.rows.own import ONE_MAP, SEED_ROWS, Place, own_rows, seed_training
from research.rows.row import Row, same_names
from research.rows.table import OPEN, PAIRED_COLUMNS, paired_table, study_table

log = logging.getLogger(__name__)

SEEDS = (0, 1, 2)
HELD_OUT = ("validation", "test")
OTHER_WIDTHS = "architectures, other widths"
"""Those of the other architectures whose parameters have the published names."""

Cells = Mapping[str, Mapping[int, Path]]
"""The file of every row and training seed."""


@dataclass(frozen=True, eq=False)
class StudyTables:
    """The full protocol of one library."""

    protocol: pd.DataFrame
    """Columns `STUDY_COLUMNS`. Rows on foreign libraries carry the name of the library that they
    were fitted on: ``default (aligned)``; that of all libraries does not."""
    paired: pd.DataFrame
    """Columns `PAIRED_COLUMNS`: differences to the default map."""
    costs: pd.DataFrame
    """Columns regime, row, access, seed, fit_seconds, predict_seconds (a checkpoint), on one core.
    A training that is kept on disk has no fit_seconds here; the full evaluation, whose values are
    known, is left out."""


def evaluate_rows(
    artifacts: Path,
    library: str,
    cache: Path,
    seeds: Sequence[int] = SEEDS,
    names: Sequence[str] | None = None,
    later: bool = False,
) -> StudyTables:
    """Fit the rows that are missing in `cache`, then build the tables of one library.

    `library` is ``aligned`` or ``unaligned``; its arrays must be extracted under `artifacts`. With
    ``later=True`` the task is forecasting within runs instead, and foreign libraries are left out.
    `names` restricts the rows. A killed call goes on where it stopped and loses at most one fit.
    Files are kept as long as the checkpoints are the same: remove the cache when code changed.
    Training seed 0 of the default map is the one that `make reproduce` trained, that of the seed's
    models the one of their own study.
    """
    regime = f"{library}, {LATER}" if later else library
    data = load_map_data(artifacts / ARRAYS[library])
    data = later_in_the_run(data) if later else data
    folder = cache / regime.replace(", ", "-").replace(" ", "-")
    known = known_rows(artifacts, library, folder, later)
    rows = {name: known[name] for name in names or known}
    parts = _parts(data, artifacts / "library", later)
    cells = {
        name: {
            seed: folder / f"{name}-{seed}.npz" for seed in (seeds if row.trained else seeds[:1])
        }
        for name, row in rows.items()
    }
    for name, row in rows.items():
        for seed, path in cells[name].items():
            log.info("%s: %s, seed %d", regime, name, seed)
            fill_cell(path, row, data, seed, parts)
            if name in SEED_ROWS:  # 0.8 GB that nothing needs any more
                _kept(folder, name, seed).unlink(missing_ok=True)
    access = {name: row.access for name, row in rows.items()}
    mean = mean_embedding(data)
    tables = [
        _part_tables(_scored(cells, part, splits, mean), access, part, regime, library)
        for part, splits in parts.items()
    ]
    validation, paired = (
        pd.concat(frames, ignore_index=True) for frames in zip(*tables, strict=True)
    )
    return StudyTables(validation, paired, _costs(cells, access, regime))


def known_rows(artifacts: Path, library: str, folder: Path, later: bool = False) -> dict[str, Row]:
    """Every row by its name; `folder` keeps trainings that are made for this study alone."""
    place = _place(artifacts, library, folder, later)
    return ROWS | own_rows(place, partial(load_both, artifacts))


def _place(artifacts: Path, library: str, folder: Path, later: bool) -> Place:
    """Seed 0 is what `make reproduce` and the study of the seed's models train; others are kept in
    the cache."""
    shared = {
        ONE_MAP: models_folder(artifacts, BOTH) / "best.pt",
        "default": models_folder(artifacts, library) / "best.pt",
        **{name: seed_training(artifacts, library, name) for name in SEED_ROWS},
    }

    def place(name: str, seed: int) -> Path:
        if name == ONE_MAP and seed:  # the same map, whichever library is asked about
            return _kept(folder.parent, name, seed)
        return _kept(folder, name, seed) if seed or later else shared[name]

    return place


def _kept(folder: Path, name: str, seed: int) -> Path:
    return folder / f"{name}-{seed}" / "best.pt"


def _parts(data: MapData, root: Path, later: bool) -> Parts:
    """What every row is asked to predict."""
    parts = {name: [data.split(name)] for name in HELD_OUT}
    if later or not (root / INDEX).is_file():
        return parts
    index = read_index(root)
    for library in FOREIGN:
        if (index["library"] == library).any():
            parts[library] = foreign_splits(index, root, library)
    others = parts.get("architectures", [])
    trained_on = data.train.architecture
    if alike := [split for split in others if same_names(split.architecture, trained_on)]:
        parts[OTHER_WIDTHS] = alike
    return parts


def _scored(
    cells: Cells,
    part: str,
    splits: Sequence[ExtractedSplit],
    mean: Float[np.ndarray, "anchors dim"],
) -> dict[str, list[Scores]]:
    """Scores of the rows that can read a part, by training seed."""
    scored: dict[str, list[Scores]] = {}
    for name, paths in cells.items():
        for path in paths.values():
            prediction = read_prediction(path, part)
            if prediction is not None:
                scored.setdefault(name, []).append(score_foreign(prediction, splits, mean))
    return scored


def _part_tables(
    scored: Mapping[str, Sequence[Scores]],
    access: Mapping[str, str],
    part: str,
    regime: str,
    library: str,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The study table and the paired table of one part."""
    keys = (regime, part) if part in HELD_OUT else (part, SPLIT)
    table = study_table(scored, access, *keys)
    paired = pd.DataFrame(columns=list(PAIRED_COLUMNS))
    if "default" in scored:
        paired = paired_table(scored, access, *keys)
    if part in HELD_OUT:
        return table, paired
    return _named(table, library), _named(paired, library)


def _named(frame: pd.DataFrame, library: str) -> pd.DataFrame:
    """Rows carry the name of the library that they were fitted on, unless it was not one."""
    columns = [name for name in ("row", "reference", "better") if name in frame]
    stay = frame[columns].isin([OPEN, ONE_MAP])
    named = frame[columns].where(stay, frame[columns] + f" ({library})")
    return frame.assign(**{name: named[name] for name in columns})


def _costs(cells: Cells, access: Mapping[str, str], regime: str) -> pd.DataFrame:
    columns = ["regime", "row", "access", "seed", "fit_seconds", "predict_seconds"]
    lines = [
        (regime, name, access[name], seed, *read_seconds(path))
        for name, paths in cells.items()
        for seed, path in paths.items()
        if name != "full evaluation"
    ]
    costs = pd.DataFrame(lines, columns=columns)
    costs["fit_seconds"] = costs["fit_seconds"].where(costs["row"].isin(list(ROWS)))
    return costs
