"""Paths between frozen and unfrozen test runs: every pair of the two groups, in both libraries."""

from collections.abc import Iterator
from functools import partial
from itertools import product
from pathlib import Path

import pandas as pd
from tqdm import tqdm

from epsvae.errors import LibraryError
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.library.index import read_index
from epsvae.subjects.ternary.map.files import load_epsilon_vae
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.uses.decode import map_sha256
from epsvae.subjects.ternary.uses.interpolate import COLUMNS, interpolate_checkpoints
from research.cache import kept

LIBRARIES = ("aligned", "unaligned")
REGIMES = ("frozen", "unfrozen")
"""Where paths start and where they end."""
SHARES = tuple(i / 8 for i in range(9))
PATH_COLUMNS = ("library", "run_a", "run_b", *COLUMNS)


def path_table(artifacts: Path, release: Path, cache: Path) -> pd.DataFrame:
    """Paths of all pairs; columns `PATH_COLUMNS`. Two to three minutes on one core.

    Reads the files of the libraries under `artifacts` and the maps of `release`; resumable pair by
    pair through `cache`. Raises LibraryError where a library has no runs of one of `REGIMES`.
    """
    cells = tqdm(path_cells(artifacts / "library", release, cache), desc="paths", unit="pair")
    return pd.concat(list(cells), ignore_index=True)


def path_cells(root: Path, release: Path, cache: Path) -> Iterator[pd.DataFrame]:
    """The path of each pair."""
    index = read_index(root)
    for library in LIBRARIES:
        model = load_epsilon_vae(release / library / "map.pt")
        if not isinstance(model, EpsilonVAE):
            raise LibraryError(f"{release / library}: expected a map that decodes weights")
        digest = map_sha256(model)
        for a, b in pairs(index, library):
            asked = library, digest, a["sha256"], b["sha256"]
            yield kept(cache, partial(_walk, model, root, a, b), __name__, *asked)


def pairs(index: pd.DataFrame, library: str) -> list[tuple[pd.Series, pd.Series]]:
    """Last checkpoints of every frozen and every unfrozen test run, as rows of the index."""
    rows = index[(index["library"] == library) & (index["split"] == "test")]
    last = rows.loc[rows.groupby("run")["epoch"].idxmax()]
    first, second = ([row for _, row in last[last["regime"] == r].iterrows()] for r in REGIMES)
    if not first or not second:
        raise LibraryError(f"{library}: expected {' and '.join(REGIMES)} test runs, found too few")
    return list(product(first, second))


def _walk(model: EpsilonVAE, root: Path, a: pd.Series, b: pd.Series) -> pd.DataFrame:
    first, second = (load_checkpoint(root / row["file"]) for row in (a, b))
    frame = interpolate_checkpoints(model, first, second, SHARES)
    return frame.assign(library=a["library"], run_a=a["run"], run_b=b["run"])[list(PATH_COLUMNS)]
