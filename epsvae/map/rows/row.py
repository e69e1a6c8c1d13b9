"""What a row of the validation table is: what it may see of a checkpoint, and how it is fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from epsvae.library.extracted import ExtractedSplit
from epsvae.library.layout import key_layout
from epsvae.map.data import MapData
from epsvae.map.prediction import Prediction
from epsvae.map.statistics import statistic_names
from epsvae.ternary import Architecture

Access = Literal["nothing", "metadata", "statistics", "key weights", "all weights", "function"]
"""What a row may look at, from least to most."""

Reads = Literal["any", "same names", "same"]
"""Which architectures a fitted row can read: any, those with the training library's parameter
names (other widths), or the training library's alone."""

Predictor = Callable[[ExtractedSplit], Prediction]


@dataclass(frozen=True)
class Row:
    """One row. ``fit(data, seed)`` may look at training runs, and select on validation runs."""

    access: Access
    fit: Callable[[MapData, int], Predictor]
    trained: bool = False
    """Whether the seed matters: such a row is fitted with several."""
    slow: bool = False
    """Whether a fit takes minutes: such a row belongs to the study, not to `make reproduce`."""
    reads: Reads = "same"

    def can_read(self, architecture: Architecture, trained_on: Architecture) -> bool:
        """Whether the row, fitted on checkpoints of one architecture, can read another."""
        if self.reads == "any":
            return True
        if self.reads == "same":
            return architecture == trained_on
        names = [statistic_names(key_layout(a)) for a in (architecture, trained_on)]
        return names[0] == names[1]
