"""The full protocol on one library: every row, every training seed, every regime; resumable."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from epsvae.subjects.ternary.library.index import INDEX, read_index
from epsvae.subjects.ternary.map.data import ARRAYS as ARRAYS
from epsvae.subjects.ternary.map.data import MapData, load_map_data, mean_embedding
from epsvae.subjects.ternary.map.scores import Scores
from research.rows import ROWS
from research.rows.cells import Parts, cell
from research.rows.foreign import FOREIGN, SPLIT, foreign_splits, score_foreign
from research.rows.judge import HELD_OUT, OPEN, PAIRED_COLUMNS, paired_table, study_table
from research.rows.later import LATER, later_in_the_run
from research.rows.own import ONE_MAP, SEED_ROWS, Trainings
from research.rows.row import same_names

log = logging.getLogger(__name__)

SEEDS = (0, 1, 2)
OTHER_WIDTHS = "architectures, other widths"
"""Those of the other architectures whose parameters have the published names."""


def evaluate_rows(
    artifacts: Path,
    library: str,
    cache: Path,
    seeds: Sequence[int] = SEEDS,
    names: Sequence[str] | None = None,
    later: bool = False,
) -> dict[str, pd.DataFrame]:
    """Fit the rows that are missing in `cache`, then build the tables of one library.

    ``protocol`` has columns `STUDY_COLUMNS`; rows on foreign libraries carry the name of the
    library that they were fitted on, ``default (aligned)``, but for that of all libraries.
    ``paired`` has columns `PAIRED_COLUMNS`: differences to the default map. ``costs`` has columns
    regime, row, access, seed, fit_seconds, predict_seconds (a checkpoint), on one core; a training
    that is kept on disk has no fit_seconds, and the full evaluation, whose values are known, is
    left out.

    `library` is ``aligned`` or ``unaligned``; its arrays must be extracted under `artifacts`. With
    ``later=True`` the task is forecasting within runs instead, and foreign libraries are left out.
    `names` restricts the rows. A killed call goes on where it stopped and loses at most one fit.
    Training seed 0 of the default map is the one that `make reproduce` trained, that of the seed's
    models the one of their own study.
    """
    regime = f"{library}, {LATER}" if later else library
    data = load_map_data(artifacts / ARRAYS[library])
    data = later_in_the_run(data) if later else data
    trainings = Trainings(artifacts, library, cache, later)
    rows = {name: ROWS[name] for name in names or ROWS}
    parts, mean = _parts(data, artifacts / "library", later), mean_embedding(data)
    scored: dict[str, dict[str, list[Scores]]] = {part: {} for part in parts}
    costs = []
    for name, row in rows.items():
        for seed in seeds if row.trained else seeds[:1]:
            log.info("%s: %s, seed %d", regime, name, seed)
            found = cell(name, row, data, seed, parts, trainings)
            seconds = found.fit_seconds, found.predict_seconds
            costs.append((regime, name, row.access, seed, *seconds))
            for part, prediction in found.predictions.items():
                scores = score_foreign(prediction, parts[part], mean)
                scored[part].setdefault(name, []).append(scores)
            if name in SEED_ROWS and (seed or later):  # 0.8 GB that nothing needs any more
                trainings.file(name, seed, data).unlink(missing_ok=True)
    access = {name: row.access for name, row in rows.items()}
    tables = [_part_tables(scored[part], access, part, regime, library) for part in parts]
    validation, paired = (
        pd.concat(frames, ignore_index=True) for frames in zip(*tables, strict=True)
    )
    return {"protocol": validation, "paired": paired, "costs": _costs(costs)}


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
    here = costs["row"].isin([name for name, row in ROWS.items() if not row.kept])
    costs["fit_seconds"] = costs["fit_seconds"].where(here)
    return costs
