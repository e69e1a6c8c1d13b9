"""Predict the behaviour of checkpoint files with a map."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import pandas as pd
import torch

from epsvae.errors import CheckpointError
from epsvae.library.files import Checkpoint, load_checkpoint
from epsvae.library.layout import extract_key_weights
from epsvae.map.files import AnyMap
from epsvae.map.model import EpsilonVAE
from epsvae.map.seed import SeedVAE
from epsvae.ternary import METRIC_NAMES, Metrics


@dataclass(frozen=True, eq=False)
class FilePredictions:
    """What came of a list of files."""

    table: pd.DataFrame
    """Columns file and the metrics' names, a row for each file that could be read."""
    refused: list[str]
    """Why the others could not."""


@torch.no_grad()
def predict_checkpoint(model: AnyMap, checkpoint: Checkpoint) -> Metrics:
    """The three metrics that a map predicts; raises CheckpointError if it was not made for them."""
    expected = model.config.architecture if isinstance(model, EpsilonVAE) else None
    if expected is not None and checkpoint.architecture != expected:
        raise CheckpointError(
            f"{checkpoint.path}: expected {expected}, found {checkpoint.architecture}"
        )
    layout: Literal["all", "key"] = "all" if isinstance(model, EpsilonVAE) else "key"
    weights = extract_key_weights(checkpoint, layout)
    if isinstance(model, SeedVAE) and len(weights) != model.config.n_weights:
        raise CheckpointError(
            f"{checkpoint.path}: expected {model.config.n_weights} key weights, "
            f"found {len(weights)}"
        )
    z = model.encode(weights)
    return Metrics(*model.predict_metrics(z).tolist())


def predict_files(model: AnyMap, files: Sequence[Path]) -> FilePredictions:
    """Predict each file; one that cannot be read is refused with its reason, never guessed."""
    rows, refused = [], []
    for path in files:
        try:
            rows.append(
                {"file": str(path), **asdict(predict_checkpoint(model, load_checkpoint(path)))}
            )
        except CheckpointError as error:
            refused.append(str(error))
    return FilePredictions(pd.DataFrame(rows, columns=["file", *METRIC_NAMES]), refused)
