"""Forecasting: learn from the first half of every run, predict the second half of the same runs.

Another question than the rest of the table asks: there a run is on one side only, here every test
checkpoint has its own run's past among the training checkpoints. Numbers of the two are not to be
compared.
"""

import numpy as np
from jaxtyping import Bool

from epsvae.errors import LibraryError
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData, joined, part, runs_of

LATER = "later in the run"
"""Ending of the name of such a regime."""


class LaterData(MapData):
    """Splits that share runs and not their times.

    Raises LibraryError unless every validation and test checkpoint is later than all training
    checkpoints of its run.
    """

    def __post_init__(self) -> None:
        last = self.train.index.groupby("run")["epoch"].max()
        for split in (self.validation, self.test):
            before = split.index["epoch"].to_numpy() <= last.loc[runs_of(split)].to_numpy()
            if before.any():
                early = sorted(set(runs_of(split)[before]))
                raise LibraryError(f"expected later checkpoints than those learned, not in {early}")


def later_in_the_run(data: MapData) -> LaterData:
    """The first halves of all runs to learn from; the second halves of validation and test runs.

    A half goes by the epochs that a run has checkpoints of; the middle one of an odd number is in
    the first. In memory: some 0.4 MB a training checkpoint.
    """
    splits = (data.train, data.validation, data.test)
    train = joined([part(split, _early(split)) for split in splits])
    validation, test = (part(split, ~_early(split)) for split in splits[1:])
    return LaterData(train, validation, test)


def _early(split: ExtractedSplit) -> Bool[np.ndarray, "n"]:
    """Which checkpoints lie in the first half of their run."""
    epochs = split.index["epoch"].groupby(runs_of(split))
    return (epochs.rank() <= (epochs.transform("size") + 1) // 2).to_numpy()
