"""Run the studies that are missing, and put what they found into a release."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from epsvae.errors import LibraryError
from epsvae.subjects.ternary.map.calibration import FILE, save_calibration
from epsvae.subjects.ternary.map.data import ARRAYS, MapData, load_map_data
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.release import open_release
from research.bench import price_of_knowing
from research.publish import refresh_manifest, write_table
from research.rows import ROWS
from research.rows.evaluate import evaluate_rows
from research.studies.ablations import ablation_cells
from research.studies.decoding import decoding_table
from research.studies.fresh import fresh_tables
from research.studies.paths import path_table
from research.studies.scaling import scaling_cells
from research.studies.seed_models import seed_tables, trained_seed
from research.studies.trajectories import trajectory_tables
from research.trust import calibrated_maps, trust_tables

log = logging.getLogger(__name__)

FORECAST_ROWS = [name for name in ROWS if name != "neural graph"]
"""Rows that also forecast within runs; the neural graph would take the longest by far."""
CELLS: Mapping[str, Callable[[Path, str, MapData], Iterator[pd.DataFrame]]] = {
    "ablations": ablation_cells,
    "scaling": scaling_cells,
}
KEYS = ("regime", "split", "row", "reference", "measure", "seed")
"""What tells the lines of a table apart."""
STUDIES = ("seed", "rows", "trust", "fresh", "price", "uses", *CELLS)
Tables = Mapping[str, pd.DataFrame]


def run_study(artifacts: Path, studies: Iterable[str] = STUDIES, seeds: int = 3) -> None:
    """Run studies on what `make reproduce` built under `artifacts`, resumable cell by cell.

    Tables go to the release there: what the seed's models predict and how they learned ("seed"),
    the full protocol, paired differences and costs ("rows"), intervals and off-map scores
    ("trust"), the protocol on many new runs ("fresh"), measured times ("price"), what the chapters
    on uses need beyond the release ("uses"), ablations, scaling. `seeds` trainings of each trained
    row. Raises LibraryError for an unknown study and where there is no release.
    """
    release, cache = artifacts / "release", artifacts / "study"
    if unknown := set(studies) - set(STUDIES):
        raise LibraryError(f"study: expected {', '.join(STUDIES)}, found {sorted(unknown)}")
    if not release.is_dir():
        raise LibraryError(f"{release}: expected a release, found none; run: make reproduce")
    torch.set_num_threads(1)
    known: dict[str, Callable[[], Tables]] = {
        "seed": lambda: seed_tables(artifacts),
        "rows": lambda: _rows(artifacts, cache / "rows", range(seeds)),
        "trust": lambda: _trust(artifacts, release),
        "fresh": lambda: fresh_tables(artifacts, cache / "fresh"),
        "price": lambda: {"knowing": price_of_knowing(artifacts)},
        "uses": lambda: _uses(artifacts, release, cache),
    }
    for study in studies:
        tables = known.get(study, lambda name=study: {name: _cells(name, artifacts, cache)})()
        for name, table in tables.items():
            write_table(table, release / f"{name}.parquet")
    refresh_manifest(release)


def _rows(artifacts: Path, cache: Path, seeds: range) -> Tables:
    """Every row of the protocol, on both libraries, and as a forecast on the aligned one."""
    found = [evaluate_rows(artifacts, library, cache, seeds) for library in ARRAYS]
    names = [*FORECAST_ROWS, "default, key weights", "default"]
    found.append(evaluate_rows(artifacts, "aligned", cache, seeds, names, later=True))
    tables = {}
    for name in ("protocol", "paired", "costs"):
        frame = pd.concat([getattr(part, name) for part in found], ignore_index=True)
        keys = [key for key in KEYS if key in frame]  # the map of both libraries comes twice
        tables[name] = frame.drop_duplicates(keys)
    return tables


def _trust(artifacts: Path, release: Path) -> Tables:
    """The calibration of each map, and what it is worth on test runs and off the map."""
    maps = calibrated_maps(artifacts)
    for library, own in maps.items():
        save_calibration(own.calibration, release / library / FILE)
    flat, _ = trained_seed(artifacts, "aligned", "seed hybrid")
    return trust_tables(maps, artifacts / "library", flat)


def _uses(artifacts: Path, release: Path, cache: Path) -> Tables:
    """What needs the weights of more runs than a release carries."""
    model, data = open_release(release).map(), load_map_data(artifacts / ARRAYS["aligned"])
    if not isinstance(model, EpsilonVAE):
        raise LibraryError(f"{release}: expected the default map, found {type(model).__name__}")
    return {
        **trajectory_tables(data, model),
        "paths": path_table(artifacts, release, cache / "paths"),
        "decoded": decoding_table(artifacts, release, cache / "decoded"),
    }


def _cells(study: str, artifacts: Path, cache: Path) -> pd.DataFrame:
    frames = []
    for library, folder in ARRAYS.items():
        data = load_map_data(artifacts / folder)
        cells = tqdm(CELLS[study](cache, library, data), desc=f"{library}: {study}", unit="cell")
        frames += list(cells)
    return pd.concat(frames, ignore_index=True)
