"""Run the studies that are missing, and put what they found into a release."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from tqdm import tqdm

from epsvae.errors import LibraryError
from epsvae.subjects.ternary.map.calibration import FILE, save_calibration
from epsvae.subjects.ternary.map.data import ARRAYS, load_map_data
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.release import open_release
from research.bench import price_of_knowing
from research.publish import refresh_manifest, write_table
from research.rows import ROWS
from research.rows.evaluate import evaluate_rows
from research.rows.own import ONE_MAP, SEED_ROWS
from research.studies.ablations import Plans, ablations, fitted, scaling
from research.studies.decoding import decoding_table
from research.studies.fresh import fresh_tables
from research.studies.paths import path_table
from research.studies.seed_models import seed_tables, trained_seed
from research.studies.trajectories import trajectory_tables
from research.trust import calibrated_maps, trust_tables

FORECAST_ROWS = [name for name in ROWS if name not in ("neural graph", ONE_MAP, *SEED_ROWS)]
"""Rows that also forecast within runs: not those that would take the longest by far."""
KEYS = ("regime", "split", "row", "reference", "measure", "seed")
"""What tells the lines of a table apart."""
Tables = Mapping[str, pd.DataFrame]
RELEASE, CACHE = "release", "study"
"""Folders under the artifacts."""


def run_study(artifacts: Path, studies: Iterable[str] | None = None, seeds: int = 3) -> None:
    """Run studies (all by default) on what `make reproduce` built under `artifacts`.

    What was computed is kept, so a killed study goes on where it stopped. Tables go to the release
    there; `STUDIES` says which. `seeds` trainings of each trained row. Raises LibraryError for an
    unknown study and where there is no release.
    """
    release, wanted = artifacts / RELEASE, list(studies or STUDIES)
    if unknown := set(wanted) - set(STUDIES):
        raise LibraryError(f"study: expected {', '.join(STUDIES)}, found {sorted(unknown)}")
    if not release.is_dir():
        raise LibraryError(f"{release}: expected a release, found none; run: make reproduce")
    torch.set_num_threads(1)
    for study in wanted:
        for name, table in STUDIES[study](artifacts, seeds).items():
            write_table(table, release / f"{name}.parquet")
    refresh_manifest(release)


def _rows(artifacts: Path, seeds: int) -> Tables:
    """Every row of the protocol, on both libraries, and as a forecast on the aligned one."""
    ask = partial(evaluate_rows, artifacts, cache=artifacts / CACHE / "rows", seeds=range(seeds))
    found = [ask(library) for library in ARRAYS]
    found.append(ask("aligned", names=FORECAST_ROWS, later=True))
    tables = {}
    for name in found[0]:
        frame = pd.concat([part[name] for part in found], ignore_index=True)
        keys = [key for key in KEYS if key in frame]  # the map of both libraries comes twice
        tables[name] = frame.drop_duplicates(keys)
    return tables


def _trust(artifacts: Path, seeds: int) -> Tables:
    """The calibration of each map, and what it is worth on test runs and off the map."""
    maps = calibrated_maps(artifacts)
    for library, own in maps.items():
        save_calibration(own.calibration, artifacts / RELEASE / library / FILE)
    flat, _ = trained_seed(artifacts, "aligned", "seed hybrid")
    return trust_tables(maps, artifacts / "library", flat)


def _uses(artifacts: Path, seeds: int) -> Tables:
    """What needs the weights of more runs than a release carries."""
    release, cache = artifacts / RELEASE, artifacts / CACHE
    model, data = open_release(release).map(), load_map_data(artifacts / ARRAYS["aligned"])
    if not isinstance(model, EpsilonVAE):
        raise LibraryError(f"{release}: expected the default map, found {type(model).__name__}")
    return {
        **trajectory_tables(data, model),
        "paths": path_table(artifacts, release, cache / "paths"),
        "decoded": decoding_table(artifacts, release, cache / "decoded"),
    }


def _varied(name: str, plans: Plans, artifacts: Path, seeds: int) -> Tables:
    """One decision of the default map varied, on both libraries."""
    frames: list[pd.DataFrame] = []
    for library, folder in ARRAYS.items():
        cells = fitted(plans, library, load_map_data(artifacts / folder), artifacts / CACHE)
        frames += list(tqdm(cells, desc=f"{library}: {name}", unit="cell"))
    return {name: pd.concat(frames, ignore_index=True)}


STUDIES: Mapping[str, Callable[[Path, int], Tables]] = {
    "seed": lambda artifacts, seeds: seed_tables(artifacts),
    "rows": _rows,
    "trust": _trust,
    "fresh": lambda artifacts, seeds: fresh_tables(artifacts, artifacts / CACHE / "fresh"),
    "price": lambda artifacts, seeds: {"knowing": price_of_knowing(artifacts)},
    "uses": _uses,
    "ablations": partial(_varied, "ablations", ablations),
    "scaling": partial(_varied, "scaling", scaling),
}
"""What the seed's models predict and how they learned; the full protocol, paired differences and
costs; intervals and off-map scores; the protocol on many new runs; measured times; what chapters on
uses need beyond the release; one decision of the map varied."""
