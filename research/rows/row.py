"""What a row of the validation table is: what it may see of a checkpoint, and how it is fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from epsvae.subjects.ternary import Architecture
from epsvae.subjects.ternary.library.layout import key_layout
from epsvae.subjects.ternary.map.data import MapData
from research.rows.baselines import Predictor as Predictor
from research.statistics import statistic_names

Access = Literal["nothing", "metadata", "statistics", "key weights", "all weights", "function"]
"""What a row may look at, from least to most."""

Reads = Literal["any", "same names", "same"]
"""Which architectures a fitted row can read: any, those with the training library's parameter
names (other widths), or the training library's alone."""


@dataclass(frozen=True)
class Row:
    """One row. ``fit(data, seed)`` may look at training runs, and select on validation runs."""

    access: Access
    fit: Callable[..., Predictor]
    trained: bool = False
    """Whether the seed matters: such a row is fitted with several."""
    reads: Reads = "same"
    kept: bool = False
    """Whether its trainings are files: then it is ``fit(data, seed, trainings)``."""

    def can_read(self, architecture: Architecture, trained_on: Architecture) -> bool:
        """Whether the row, fitted on checkpoints of one architecture, can read another."""
        if self.reads == "any":
            return True
        if self.reads == "same":
            return architecture == trained_on
        return same_names(architecture, trained_on)


def same_names(a: Architecture, b: Architecture) -> bool:
    """Whether the key weights of two architectures have the same layer statistics, by name."""
    first, second = (statistic_names(key_layout(architecture)) for architecture in (a, b))
    return first == second


def without_seed(fit: Callable[[MapData], Predictor]) -> Callable[[MapData, int], Predictor]:
    """A fit that nothing random decides, in the form that every row has."""
    return lambda data, seed: fit(data)
