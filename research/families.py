"""The other families from nothing: their libraries, maps and first results, and their release.

What is built of a family lies in one folder: ``library/``, ``map.safetensors`` and
``first_results.parquet``. Every step skips what is there.

Ternary networks have a factory and a release of their own; here they get the same table, with a row
for their Epsilon-VAE.
"""

import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import NamedTuple, Protocol, runtime_checkable

import pandas as pd
from joblib import Parallel, delayed

from epsvae.atomic import replacing
from epsvae.errors import LibraryError
from epsvae.loading import load_subject
from epsvae.map.map_file import load_map, save_map
from epsvae.subjects.ternary.library.index import read_index
from epsvae.subjects.ternary.map.look import TernaryMap, open_map
from epsvae.threads import one_thread
from research.digits.build import build as build_digits
from research.digits.recipes import catalogue as draw_digits
from research.first_results import first_results, fit_library
from research.publish import write_table
from research.text.factory import SMALL, Plan
from research.text.factory import build_library as build_text
from research.text.recipes import SMALL_SPLITS
from research.text.recipes import draw_library as draw_text

TERNARY = "ternary"
LIBRARY, MAP, TABLE, RUNS = "library", "map.safetensors", "first_results.parquet", "runs"
CARRIED_RUNS = 2
"""Test runs of which a release carries checkpoints, the first that are drawn."""
CARRIED_PLACES = (1 / 3, 2 / 3, 1)
"""Which checkpoints of them, as shares of their number."""


@runtime_checkable
class Run(Protocol):
    """What is asked of any family's recipes."""

    @property
    def name(self) -> str: ...
    @property
    def split(self) -> str: ...


class Family(NamedTuple):
    """How a family is built; its name is that of its subject."""

    recipes: Callable[[bool], Sequence[Run]]
    """All runs; a few if it is true."""
    build: Callable[[Path, bool, int], object]
    """Train what is missing of the library in a folder; a few short runs; so many processes."""


def _build_text(root: Path, small: bool, n_jobs: int) -> None:
    recipes = draw_text(SMALL_SPLITS) if small else draw_text()
    build_text(root, recipes, SMALL if small else Plan(), n_jobs)


FAMILIES: Mapping[str, Family] = {
    "digits": Family(
        draw_digits,
        lambda root, small, n_jobs: build_digits(root, draw_digits(small), n_jobs),
    ),
    "text": Family(
        lambda small: draw_text(SMALL_SPLITS) if small else draw_text(),
        _build_text,
    ),
}


def build_family(root: Path, name: str, small: bool, n_jobs: int) -> None:
    """Train the runs of a family that are missing below ``root/<name>/library``."""
    FAMILIES[name].build(root / name / LIBRARY, small, n_jobs)


def learn_families(root: Path, n_jobs: int) -> dict[str, float]:
    """Fit and judge the maps of all families side by side; gives the seconds of those that were
    not on disk."""
    missing = [name for name in FAMILIES if not (root / name / TABLE).is_file()]
    taken = Parallel(n_jobs)(delayed(_learn)(root, name) for name in missing)
    return {f"{name}: map": round(t, 1) for name, t in zip(missing, taken, strict=True)}


def learn_ternary(libraries: Path, root: Path, own: Path) -> None:
    """The same for the aligned library of ternary networks, beside an Epsilon-VAE in a file."""
    link_by_split(libraries, root / TERNARY / LIBRARY)
    if not (root / TERNARY / TABLE).is_file():
        _learn(root, TERNARY, open_map(own))


@one_thread()
def _learn(root: Path, name: str, own: TernaryMap | None = None) -> float:
    start, folder, subject = perf_counter(), root / name, load_subject(name)
    if not (folder / MAP).is_file():
        save_map(fit_library(folder / LIBRARY, subject), folder / MAP)
    fitted = load_map(folder / MAP, subject)
    write_table(first_results(folder / LIBRARY, fitted, own=own), folder / TABLE)
    return perf_counter() - start


def publish_families(root: Path, release: Path, small: bool) -> None:
    """Maps, a few checkpoints as a user has them, and one table of all families."""
    release.mkdir(parents=True, exist_ok=True)
    for name, family in FAMILIES.items():
        folder, runs = root / name, release / name / RUNS
        shutil.rmtree(runs, ignore_errors=True)
        for file in _carried(folder / LIBRARY, family.recipes(small)):
            target = runs / file.parent.name / file.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
        with replacing(release / name / MAP) as temporary:
            shutil.copyfile(folder / MAP, temporary)
    tables = [pd.read_parquet(root / name / TABLE) for name in (TERNARY, *FAMILIES)]
    write_table(pd.concat(tables, ignore_index=True), release / TABLE)


def link_by_split(root: Path, folder: Path, library: str = "aligned") -> None:
    """Checkpoints of one of the libraries in `root` as ``<folder>/<split>/<run>/``, by links.

    Raises LibraryError without an index, or if the library is not in it.
    """
    index = read_index(root)
    chosen = index[index["library"] == library]
    if chosen.empty:
        known = ", ".join(index["library"].unique())
        raise LibraryError(f"{root}: expected the library {library}, found {known}")
    for split, run, file in chosen[["split", "run", "file"]].itertuples(index=False):
        target = folder / split / run / Path(file).name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.is_symlink():
            target.symlink_to((root / file).resolve())


def _carried(library: Path, recipes: Sequence[Run]) -> Iterator[Path]:
    tested = [recipe for recipe in recipes if recipe.split == "test"]
    for recipe in tested[:CARRIED_RUNS]:
        files = sorted((library / recipe.split / recipe.name).glob("step-*.safetensors"))
        yield from (files[round(share * len(files)) - 1] for share in CARRIED_PLACES)
