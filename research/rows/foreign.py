"""Libraries that no row was fitted on: other bases, other architectures."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from epsvae.subjects.ternary import METRIC_NAMES, embed, operation_trits
from epsvae.subjects.ternary.library.anchors import anchor_operations
from epsvae.subjects.ternary.library.architecture import architecture_from_json
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.library.layout import all_layout, extract_key_weights, key_layout
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.scores import Scores
from research.rows.judge import full_score

FOREIGN = ("bases", "architectures")
"""Libraries of test runs alone."""
SPLIT = "test"


def foreign_splits(index: pd.DataFrame, root: Path | str, library: str) -> list[ExtractedSplit]:
    """The checkpoints of a library in memory, one split an architecture, in the index's order.

    `index` is the index of all libraries under `root`. Raises CheckpointError for a bad file.
    """
    rows = index[index["library"] == library]
    groups = rows.groupby("architecture", sort=False)
    return [_load(part.reset_index(drop=True), Path(root)) for _, part in groups]


@torch.no_grad()
def _load(index: pd.DataFrame, root: Path) -> ExtractedSplit:
    architecture = architecture_from_json(index["architecture"].iloc[0])
    checkpoints = [load_checkpoint(root / file) for file in index["file"]]
    vectors = torch.stack([extract_key_weights(c, "all") for c in checkpoints])
    state, anchors = all_layout(architecture).unflatten(vectors), anchor_operations()
    trits = operation_trits(anchors).expand(len(vectors), -1, -1)
    n_key = key_layout(architecture).n_weights
    return ExtractedSplit(
        weights=vectors[:, :n_key].numpy(),
        rest=vectors[:, n_key:].numpy(),
        embeddings=embed(state, architecture, trits, vectors[:, -1].view(-1, 1, 1)).numpy(),
        metrics=index[list(METRIC_NAMES)].to_numpy("f8"),
        index=index,
        anchors=anchors,
        architecture=architecture,
    )


def score_foreign(
    prediction: Prediction,
    splits: Sequence[ExtractedSplit],
    mean: Float[np.ndarray, "anchors dim"],
) -> Scores:
    """Scores of a whole library at once; `mean` is the training mean embedding of the row's own."""
    parts, start = [], 0
    for split in splits:
        rows = slice(start, start + len(split.metrics))
        points = None if prediction.embeddings is None else prediction.embeddings[rows]
        parts.append(full_score(Prediction(points, prediction.metrics[rows]), split, mean))
        start = rows.stop
    together = {
        name: np.concatenate([part.embedding[name] for part in parts])
        for name in parts[0].embedding
    }
    runs, predicted, true = (
        np.concatenate([getattr(part, field) for part in parts])
        for field in ("runs", "predicted", "true")
    )
    return replace(parts[0], runs=runs, predicted=predicted, true=true, embedding=together)
