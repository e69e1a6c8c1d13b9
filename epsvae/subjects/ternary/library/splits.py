"""Who is on which side: checks that a split keeps runs apart, and a split in time for imports."""

from collections.abc import Iterable

import pandas as pd

from epsvae.errors import LibraryError, few

TRAIN, VALIDATION, TEST = SPLITS = ("train", "validation", "test")


def assert_disjoint(index: pd.DataFrame) -> None:
    """Check that no run and no file content is on two sides of a split, and that time is kept.

    In a library with training runs, every validation and test run must have started later than
    all of them. Raises LibraryError naming the runs.
    """
    runs = _run_names(index)
    sides = index["split"].groupby(runs).nunique()
    if len(torn := sides[sides > 1].index):
        raise LibraryError(f"splits: expected every run on one side, found on several: {few(torn)}")
    sides = index["split"].groupby(index["sha256"]).nunique()
    if (twice := index["sha256"].isin(sides[sides > 1].index)).any():
        raise LibraryError(
            f"splits: expected different files on different sides, found the same in "
            f"{few(index.loc[twice, 'file'])}"
        )
    for library, rows in index.groupby("library"):
        _assert_later(str(library), rows)


def _assert_later(library: str, rows: pd.DataFrame) -> None:
    train = rows["split"] == TRAIN
    if not train.any():
        return
    last = rows.loc[train, "started"].max()
    early = rows["split"].isin([VALIDATION, TEST]) & (rows["started"] <= last)
    if early.any():
        raise LibraryError(
            f"splits: expected validation and test runs of library {library!r} to start later "
            f"than its training runs (the last at {last}), found earlier: "
            f"{few(_unique(_run_names(rows[early])))}"
        )


def temporal_split(index: pd.DataFrame, n_validation_runs: int) -> pd.DataFrame:
    """A copy of an index in which the runs that started last are validation, the others training.

    Goes by a run's `started`, never by checkpoint. Raises LibraryError unless both sides get a run
    and the order at the border is known (no two runs that started together on its two sides).
    """
    names = _run_names(index)
    started = index["started"].groupby(names).min().sort_values(kind="stable")
    n_train = len(started) - n_validation_runs
    if n_validation_runs < 1 or n_train < 1:
        raise LibraryError(
            f"splits: expected 1 to {len(started) - 1} validation runs of {len(started)}, "
            f"found {n_validation_runs}"
        )
    if started.iloc[n_train - 1] == started.iloc[n_train]:
        raise LibraryError(
            "splits: expected to know which run started first, found the same start for "
            f"{few(started.index[n_train - 1 : n_train + 1])}"
        )
    late = names.isin(started.index[n_train:])
    return index.assign(split=late.map({True: VALIDATION, False: TRAIN}))


def _run_names(index: pd.DataFrame) -> pd.Series:
    """Library and run of every row: a name may come again in another library."""
    return index["library"] + "/" + index["run"]


def _unique(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))
