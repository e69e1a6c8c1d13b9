"""Run the studies that are missing, and put what they found into a release."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from epsvae.bench import price_of_knowing
from epsvae.errors import LibraryError
from epsvae.map.calibration import FILE, save_calibration
from epsvae.map.data import ARRAYS, MapData, load_map_data
from epsvae.map.files import AnyMap
from epsvae.map.rows import ROWS
from epsvae.map.rows.evaluate import StudyTables, evaluate_rows
from epsvae.map.seed import SeedConfig
from epsvae.map.seed_training import train_seed
from epsvae.map.trust import calibrated_maps, trust_tables
from epsvae.publish import refresh_manifest, write_table
from epsvae.study.ablations import ablation_cells
from epsvae.study.scaling import scaling_cells

log = logging.getLogger(__name__)

FORECAST_ROWS = [name for name in ROWS if name != "neural graph"]
"""Rows that also forecast within runs; the neural graph would take the longest by far."""
CELLS: Mapping[str, Callable[[Path, str, MapData], Iterator[Path]]] = {
    "ablations": ablation_cells,
    "scaling": scaling_cells,
}
KEYS = ("regime", "split", "row", "reference", "measure", "seed")
"""What tells the lines of a table apart."""
STUDIES = ("rows", "trust", "price", *CELLS)


def run_study(artifacts: Path, studies: Iterable[str] = STUDIES, seeds: int = 3) -> None:
    """Run studies on what `make reproduce` built under `artifacts`, resumable cell by cell.

    Tables go to the release there: the full validation table, paired differences and costs
    ("rows"), ablations, scaling. `seeds` trainings of each trained row. Raises LibraryError for an
    unknown study and where there is no release.
    """
    release, cache = artifacts / "release", artifacts / "study"
    if unknown := set(studies) - set(STUDIES):
        raise LibraryError(f"study: expected {', '.join(STUDIES)}, found {sorted(unknown)}")
    if not release.is_dir():
        raise LibraryError(f"{release}: expected a release, found none; run: make reproduce")
    torch.set_num_threads(1)
    for study in studies:
        if study == "rows":
            _write_rows(artifacts, cache / "rows", release, range(seeds))
        elif study == "trust":
            _write_trust(artifacts, release)
        elif study == "price":
            write_table(price_of_knowing(artifacts), release / "knowing.parquet")
        else:
            write_table(_together(_cells(study, artifacts, cache)), release / f"{study}.parquet")
    refresh_manifest(release)


def _write_rows(artifacts: Path, cache: Path, release: Path, seeds: range) -> None:
    """Every row of the protocol, on both libraries, and as a forecast on the aligned one."""
    tables: list[StudyTables] = [
        evaluate_rows(artifacts, library, cache, seeds) for library in ARRAYS
    ]
    names = [*FORECAST_ROWS, "default, key weights", "default"]
    tables.append(evaluate_rows(artifacts, "aligned", cache, seeds, names, later=True))
    for name in ("protocol", "paired", "costs"):
        frame = pd.concat([getattr(table, name) for table in tables], ignore_index=True)
        keys = [key for key in KEYS if key in frame]  # the map of both libraries comes twice
        write_table(frame.drop_duplicates(keys), release / f"{name}.parquet")


def _write_trust(artifacts: Path, release: Path) -> None:
    """The calibration of each map, and what it is worth on test runs and off the map."""
    maps = calibrated_maps(artifacts)
    for library, own in maps.items():
        save_calibration(own.calibration, release / library / FILE)
    seed_map = _seed_map(artifacts, maps["aligned"].data)
    for name, table in trust_tables(maps, artifacts / "library", seed_map).items():
        write_table(table, release / f"{name}.parquet")


def _seed_map(artifacts: Path, data: MapData) -> AnyMap:
    """The seed's hybrid that `make reproduce` trained on the aligned library."""
    state = artifacts / "training" / "aligned-seed-hybrid.pt"
    return train_seed(SeedConfig(), data, seed=0, checkpoint_path=state)[0]


def _cells(study: str, artifacts: Path, cache: Path) -> Iterator[Path]:
    for library, folder in ARRAYS.items():
        data = load_map_data(artifacts / folder)
        yield from tqdm(CELLS[study](cache, library, data), desc=f"{library}: {study}", unit="cell")


def _together(paths: Iterable[Path]) -> pd.DataFrame:
    return pd.concat([pd.read_parquet(path) for path in paths], ignore_index=True)
