"""Predict checkpoint files with the map of any subject, and say how far to trust it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch

from epsvae.checkpoints import StateFile, each_state
from epsvae.errors import CheckpointError, SubjectError
from epsvae.map.learn import FittedMap
from epsvae.map.replies import check_finite
from epsvae.users_code import UsersCode


@dataclass(frozen=True, eq=False)
class StatePredictions:
    """What came of a list of files."""

    table: pd.DataFrame
    """Columns file, and for each metric its name, `<name>_low`, `<name>_high`; then off_map, the
    score, and flag, true above 1, where the intervals promise nothing."""
    refused: list[str]
    """Why the others could not be predicted."""


def predict_states(fitted: FittedMap, files: Sequence[Path | str]) -> StatePredictions:
    """Predict each file; a folder stands for the files in it. Each runs the probes once."""
    rows, refused = [], []
    for found in each_state(files):
        try:
            if isinstance(found, CheckpointError):
                raise found
            rows.append(_row(fitted, found))
        except (CheckpointError, SubjectError) as error:
            refused.append(str(error))
    names = [metric.name for metric in fitted.model.subject.metrics]
    columns = [f"{name}{end}" for name in names for end in ("", "_low", "_high")]
    return StatePredictions(
        pd.DataFrame(rows, columns=["file", *columns, "off_map", "flag"]), refused
    )


@torch.no_grad()
def _row(fitted: FittedMap, file: StateFile) -> dict[str, object]:
    model = fitted.model
    subject = model.subject
    with UsersCode(str(file.path), f"a checkpoint of {subject.name}"):
        answers = subject.answer_stack([file.state], subject.inputs[model.probes])
    try:
        check_finite(answers)
    except CheckpointError as error:
        raise CheckpointError(f"{file.path}: {error}") from error
    reading = model.read(answers)
    z = model.latent(reading)
    metrics, (low, high) = model.predict_metrics(z), fitted.intervals(model, z)
    row: dict[str, object] = {"file": str(file.path)}
    for i, metric in enumerate(subject.metrics):
        values = (metrics[0, i], low[0, i], high[0, i])
        ends = ("", "_low", "_high")
        row |= {f"{metric.name}{e}": float(v) for e, v in zip(ends, values, strict=True)}
    score = float(fitted.novelty(reading.blocks())[0])
    return row | {"off_map": score, "flag": score > 1}


def readable(predictions: StatePredictions, fitted: FittedMap) -> str:
    """The table as text: ``0.931 [0.910, 0.952]``; no interval where it would promise nothing."""
    table = predictions.table
    shown = table[["file"]].copy()
    for name in (metric.name for metric in fitted.model.subject.metrics):
        wanted = [name, f"{name}_low", f"{name}_high", "flag"]
        shown[name] = [
            f"{value:.4g}" + ("" if flag else f" [{low:.4g}, {high:.4g}]")
            for value, low, high, flag in table[wanted].itertuples(index=False)
        ]
    shown["off map"] = [f"{score:.2f}" for score in table["off_map"]]
    shown["flag"] = ["OFF MAP" if flag else "" for flag in table["flag"]]
    return shown.to_string(index=False)
