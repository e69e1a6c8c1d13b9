"""Asked again: many more runs, trained when all was decided, tell what a few test runs cannot."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch
from joblib import Parallel, delayed

from epsvae.subjects.ternary.library.extract import extract_library
from epsvae.subjects.ternary.library.extracted import ExtractedSplit, load_split
from epsvae.subjects.ternary.map.data import ARRAYS, BOTH, joined, load_map_data, mean_embedding
from epsvae.subjects.ternary.map.scores import score
from research.rows import ROWS
from research.rows.cells import cell
from research.rows.judge import paired_table, study_table
from research.rows.own import Trainings
from research.ternary.build import build_libraries
from research.ternary.catalogue import fresh
from research.trust.summary import coverage_table
from research.trust.tables import CHOSEN, default_maps, interval_table

N_RUNS = 256
"""New runs of each library: enough to tell a coverage of 90 % from one of 88 or 92 %."""
FRESH = "fresh"
"""The split's name in the tables."""


def fresh_tables(
    artifacts: Path, cache: Path, names: Sequence[str] | None = None, n_jobs: int = 2
) -> dict[str, pd.DataFrame]:
    """Tables ``fresh``, ``fresh_paired`` and ``fresh_coverage``: the protocol on new runs.

    Every row (or those of `names`), fitted once and judged on `N_RUNS` new runs of its library,
    with paired differences to the default map; and how often the intervals of each default map
    hold there. Nothing is chosen by the outcome. Half an hour on two cores; a killed call resumes.
    """
    root = artifacts / FRESH
    recipes = [recipe for library in ARRAYS for recipe in fresh(library, N_RUNS)]
    index = build_libraries(root, recipes, n_jobs)
    for library in ARRAYS:
        runs = index[index["library"] == f"{FRESH}-{library}"]
        extract_library(runs, root, _arrays(artifacts, library), ["test"])
    parts = Parallel(n_jobs=n_jobs)(
        delayed(_rows)(artifacts, library, cache, names) for library in ARRAYS
    )
    tables, paired = (pd.concat(frames, ignore_index=True) for frames in zip(*parts, strict=True))
    return {"fresh": tables, "fresh_paired": paired, "fresh_coverage": _coverage(artifacts)}


def _arrays(artifacts: Path, library: str) -> Path:
    return artifacts / FRESH / ARRAYS[library]


def _new_runs(artifacts: Path, library: str) -> ExtractedSplit:
    return load_split(_arrays(artifacts, library), "test")


def _rows(
    artifacts: Path, library: str, cache: Path, names: Sequence[str] | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The protocol and the paired differences of one library, every row fitted once."""
    torch.set_num_threads(1)
    data, split = load_map_data(artifacts / ARRAYS[library]), _new_runs(artifacts, library)
    trainings = Trainings(artifacts, library, cache)
    rows = {name: ROWS[name] for name in names or ROWS}
    mean = mean_embedding(data)
    scored = {}
    for name, row in rows.items():
        found = cell(name, row, data, 0, {FRESH: [split]}, trainings).predictions
        if FRESH in found:
            scored[name] = [score(found[FRESH], split, mean)]
    access = {name: str(row.access) for name, row in rows.items()}
    return (
        study_table(scored, access, library, FRESH),
        paired_table(scored, access, library, FRESH),
    )


def _coverage(artifacts: Path) -> pd.DataFrame:
    """As `coverage_table`, for every default map on the new runs: by metric, and by regime."""
    new = {library: _new_runs(artifacts, library) for library in ARRAYS}
    new[BOTH] = joined(list(new.values()))
    tables = []
    for library, (model, data) in default_maps(artifacts).items():
        intervals = interval_table(model, replace(data, test=new[library])).assign(library=library)
        chosen = intervals[intervals["rule"] == CHOSEN]
        tables += [coverage_table(chosen, by=(by,)) for by in ("metric", "regime")]
    found = pd.concat(tables, ignore_index=True)
    return found[found["split"] == "test"].assign(split=FRESH)
