"""A folder of runs as a library: which runs teach a map, which choose, and their checkpoints."""

import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch

from epsvae.checkpoints import find_checkpoints
from epsvae.errors import CheckpointError, LibraryError
from epsvae.subject import State, Subject
from epsvae.users_code import UsersCode

if TYPE_CHECKING:
    import pandas as pd

log = logging.getLogger(__name__)

SPLITS = ("train", "validation", "test", "heldout")
FEWEST_RUNS = 4
FEW_RUNS = 20
"""Below, a map is worth little and its intervals are wide; it is said, not refused."""
VALIDATION_SHARE = 0.2
"""Of the runs, where the folder does not say."""


class Example(NamedTuple):
    """A checkpoint to learn from, or to be judged on."""

    state: State
    metrics: Mapping[str, float]
    run: str
    source: str = "a checkpoint"
    """The file, for errors."""


def split_runs(folder: Path | str, seed: int = 0) -> "tuple[pd.DataFrame, pd.DataFrame]":
    """(training, validation) checkpoints of a folder, as `find_checkpoints` lists them.

    `<folder>/train` and `<folder>/validation` if they are there; else a fifth of the runs, drawn by
    the seed, validates. Folders called test or heldout are never looked at. Raises LibraryError
    with fewer than `FEWEST_RUNS` runs.
    """
    folder = Path(folder)
    if (folder / "train").is_dir() and (folder / "validation").is_dir():
        train, validation = (find_checkpoints(folder / name) for name in SPLITS[:2])
    else:
        table = find_checkpoints(folder)
        kept = [Path(f).relative_to(folder).parts[0] not in SPLITS[2:] for f in table["file"]]
        table = table[kept]
        runs = sorted(table["run"].unique())
        _check_runs(folder, len(runs))
        order = torch.randperm(len(runs), generator=torch.Generator().manual_seed(seed)).tolist()
        held = {runs[i] for i in order[: max(1, round(VALIDATION_SHARE * len(runs)))]}
        train, validation = table[~table["run"].isin(held)], table[table["run"].isin(held)]
        log.info("%s: no train and validation folders, %d runs validate", folder, len(held))
    _check_runs(folder, train["run"].nunique() + validation["run"].nunique())
    return train, validation


def _check_runs(folder: Path, n_runs: int) -> None:
    if n_runs < FEWEST_RUNS:
        raise LibraryError(
            f"{folder}: expected at least {FEWEST_RUNS} runs, one folder each, found {n_runs}; "
            "what a map says of new runs it can only learn from several: checkpoints of one "
            "training resemble each other"
        )
    if n_runs < FEW_RUNS:
        log.warning(
            "%s: %d runs are few; expect wide intervals, below 10 runs endless ones", folder, n_runs
        )


def examples(subject: Subject, table: "pd.DataFrame") -> Iterator[Example]:
    """The checkpoints of a table, read one by one; where a file has no metrics, they are measured.

    A file that cannot be read is passed over, with a warning that says why.
    """
    for file in table["file"]:
        try:
            found = subject.read(file)
        except CheckpointError as error:
            log.warning("passed over: %s", error)
            continue
        metrics: Mapping[str, float] = found.metrics or {}
        if any(metric.name not in metrics for metric in subject.metrics):
            with UsersCode(str(file), f"a checkpoint of {subject.name} that can be measured"):
                metrics = subject.measure(subject.build(found.state))
        yield Example(found.state, metrics, found.run, str(file))
