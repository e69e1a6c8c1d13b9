"""The full protocol on one library: every row, every training seed, every regime; resumable."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

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
from research.cache import fingerprint, key
from research.rows import ROWS
from research.rows.cells import Parts, cell
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
    Training seed 0 of the default map is the one that `make reproduce` trained, that of the seed's
    models the one of their own study.
    """
    regime = f"{library}, {LATER}" if later else library
    data = load_map_data(artifacts / ARRAYS[library])
    data = later_in_the_run(data) if later else data
    place = place_of(artifacts, library, cache, later)
    known = known_rows(artifacts, place)
    rows = {name: known[name] for name in names or known}
    parts, mean = _parts(data, artifacts / "library", later), mean_embedding(data)
    scored: dict[str, dict[str, list[Scores]]] = {part: {} for part in parts}
    costs = []
    for name, row in rows.items():
        for seed in seeds if row.trained else seeds[:1]:
            log.info("%s: %s, seed %d", regime, name, seed)
            found = cell(cache, name, row, data, seed, parts)
            seconds = found.fit_seconds, found.predict_seconds
            costs.append((regime, name, row.access, seed, *seconds))
            for part, prediction in found.predictions.items():
                scores = score_foreign(prediction, parts[part], mean)
                scored[part].setdefault(name, []).append(scores)
            if name in SEED_ROWS and (seed or later):  # 0.8 GB that nothing needs any more
                place(name, seed, data).unlink(missing_ok=True)
    access = {name: row.access for name, row in rows.items()}
    tables = [_part_tables(scored[part], access, part, regime, library) for part in parts]
    validation, paired = (
        pd.concat(frames, ignore_index=True) for frames in zip(*tables, strict=True)
    )
    return StudyTables(validation, paired, _costs(costs))


def known_rows(artifacts: Path, place: Place) -> dict[str, Row]:
    """Every row by its name; `place` says where trainings are kept."""
    return ROWS | own_rows(place, partial(load_both, artifacts))


def place_of(artifacts: Path, library: str, cache: Path, later: bool = False) -> Place:
    """Where trainings are: seed 0 is what `make reproduce` and the study of the seed's models train,
    others are kept in the cache."""
    shared = {
        ONE_MAP: models_folder(artifacts, BOTH) / "best.pt",
        "default": models_folder(artifacts, library) / "best.pt",
        **{name: seed_training(artifacts, library, name) for name in SEED_ROWS},
    }

    def place(name: str, seed: int, data: MapData) -> Path:
        if not seed and not later:
            return shared[name]
        known = fingerprint(data.train.index, data.validation.index)
        return cache / key("research.rows.own", name, seed, known) / "best.pt"

    return place


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


def _costs(lines: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    columns = ["regime", "row", "access", "seed", "fit_seconds", "predict_seconds"]
    costs = pd.DataFrame(lines, columns=columns)
    costs = costs[costs["row"] != "full evaluation"].reset_index(drop=True)
    costs["fit_seconds"] = costs["fit_seconds"].where(costs["row"].isin(list(ROWS)))
    return costs
