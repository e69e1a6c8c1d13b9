"""Predict the behaviour of checkpoint files with a map, and say how far to trust it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from epsvae.map.calibrated import CalibratedMap, Place, each_file, look_at

if TYPE_CHECKING:
    import pandas as pd

OFF_MAP = ("off_map", "flag", "why")
"""Columns of the off-map score, and what it means."""


@dataclass(frozen=True, eq=False)
class FilePredictions:
    """What came of a list of files."""

    columns: tuple[str, ...]
    """file, the metrics' names and, from a calibrated map, `<name>_low` and `<name>_high` of each
    and `OFF_MAP`."""
    rows: list[dict[str, Any]]
    """One for each file that could be read."""
    refused: list[str]
    """Why the others could not."""

    @cached_property
    def table(self) -> "pd.DataFrame":
        """The rows as a table. `flag` is true off the map, where intervals promise nothing."""
        import pandas as pd

        return pd.DataFrame(self.rows, columns=list(self.columns))


def predict_files(asked: CalibratedMap, files: Sequence[Path | str]) -> FilePredictions:
    """Predict each file; one that cannot be read is refused with its reason, never guessed.

    A folder stands for the checkpoint files in it, at any depth. Each checkpoint runs the map's
    inputs once.
    """

    def row(file: Path, checkpoint: Any) -> dict[str, Any]:
        return {"file": str(file), **_row(asked, look_at(asked, checkpoint, file))}

    rows, refused = each_file(asked, files, row)
    return FilePredictions(columns(asked), rows, refused)


def columns(asked: CalibratedMap) -> tuple[str, ...]:
    """Columns of a map's predictions."""
    names = [metric.name for metric in asked.metrics]
    ends = [f"{name}_{end}" for name in names for end in ("low", "high")]
    return ("file", *names, *((*ends, *OFF_MAP) if asked.calibrated else ()))


def _row(asked: CalibratedMap, place: Place) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for i, metric in enumerate(asked.metrics):
        row[metric.name] = float(place.metrics[i])
        row[f"{metric.name}_low"] = float(place.low[i])
        row[f"{metric.name}_high"] = float(place.high[i])
    row |= {"off_map": place.off_map, "flag": place.flag, "why": place.why}
    return row if asked.calibrated else {m.name: row[m.name] for m in asked.metrics}


def readable(predictions: FilePredictions, asked: CalibratedMap) -> str:
    """The table as text: ``0.931 [0.910, 0.952]`` for a metric and its interval; no interval where
    it would promise nothing."""
    names = [metric.name for metric in asked.metrics]
    titles = ["file", *names, *(("off map", "flag", "why") if asked.calibrated else ())]
    lines = [titles]
    for row in predictions.rows:
        line = [row["file"], *(_cell(row, name, asked.calibrated) for name in names)]
        if asked.calibrated:
            line += [f"{row['off_map']:.2f}", "OFF MAP" if row["flag"] else "", row["why"]]
        lines.append(line)
    return in_columns(lines)


def _cell(row: dict[str, Any], name: str, calibrated: bool) -> str:
    value = f"{row[name]:.3f}"
    if not calibrated or row["flag"]:
        return value
    return f"{value} [{row[f'{name}_low']:.3f}, {row[f'{name}_high']:.3f}]"


def in_columns(lines: Sequence[Sequence[str]]) -> str:
    """Lines of texts as one text, in columns that are flush right."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    rows = (zip(line, widths, strict=True) for line in lines)
    return "\n".join("  ".join(f"{text:>{width}}" for text, width in row).rstrip() for row in rows)
