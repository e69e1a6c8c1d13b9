"""From one checkpoint to another: through z, or by averaging weights.

A path is walked in five ways. What the map *predicts* for a point between the two z, what the
network *decoded* from that point does when it is run, and what three averages of the weights do:
*linear*, *spherical*, and linear with *matched* hidden units. Share 0 is the first checkpoint,
share 1 the second.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.checkpoints import checkpoint_files
from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.map.calibrated import look_on_map
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.files import Checkpoint, load_checkpoint
from epsvae.subjects.ternary.library.layout import extract_key_weights
from epsvae.subjects.ternary.map.look import TernaryMap, epsilon_vae
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.uses.decode import Realised, realise, run_weights
from epsvae.subjects.ternary.uses.match import match_units
from epsvae.subjects.ternary.uses.mix import spherical_average
from epsvae.uses.average import linear_average, nearest

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
WAYS = ("predicted", "decoded", "linear", "spherical", "matched")
COLUMNS = ("way", "share", *METRIC_NAMES)


def interpolate_checkpoints(
    model: EpsilonVAE, a: Checkpoint, b: Checkpoint, shares: Sequence[float] = SHARES
) -> pd.DataFrame:
    """Metrics along a path; columns `COLUMNS`, one row for each of `WAYS` and each share.

    Costs a full evaluation for each row that is not predicted. Raises CheckpointError for a
    network that has not the map's architecture, EpsvaeError for a share outside [0, 1] or a map
    without a weight decoder.
    """
    share = torch.tensor([float(s) for s in shares])[:, None]
    if not len(share) or not ((share >= 0) & (share <= 1)).all():
        raise EpsvaeError(f"shares: expected numbers from 0 to 1, found {list(shares)}")
    first, second = (weights_of(model, checkpoint) for checkpoint in (a, b))
    with torch.no_grad():
        start, end = (model.encode(w).expand(len(share), -1) for w in (first, second))
        z = linear_average(start, end, share)
        predicted = model.predict_metrics(z)
    run = {"decoded": realise(model, z, 1), **_averages(model, first, second, share)}
    found = {"predicted": predicted.double(), **{way: r.metrics for way, r in run.items()}}
    frames = [_frame(way, share, metrics) for way, metrics in found.items()]
    return pd.concat(frames, ignore_index=True)


def _averages(
    model: EpsilonVAE,
    first: Float[Tensor, "weights"],
    second: Float[Tensor, "weights"],
    share: Float[Tensor, "shares 1"],
) -> dict[str, Realised]:
    architecture = model.config.architecture
    a, b = first.expand(len(share), -1), second.expand(len(share), -1)
    matched = match_units(first, second, architecture).expand(len(share), -1)
    averages = {
        "linear": linear_average(a, b, share),
        "spherical": spherical_average(a, b, architecture, share),
        "matched": linear_average(a, matched, share),
    }
    return {way: run_weights(architecture, w, 1) for way, w in averages.items()}


def _frame(
    way: str, share: Float[Tensor, "shares 1"], metrics: Float[Tensor, "shares 3"]
) -> pd.DataFrame:
    frame = pd.DataFrame(metrics.numpy(), columns=list(METRIC_NAMES))
    frame.insert(0, "share", share[:, 0].double().numpy())
    frame.insert(0, "way", way)
    return frame


def nearest_checkpoints(
    ends: Float[Tensor, "2 latent"],
    known: Float[Tensor, "n latent"],
    metrics: Float[np.ndarray, "n 3"],
    shares: Sequence[float] = SHARES,
) -> pd.DataFrame:
    """What needs no decoder: at each share the known checkpoint that is nearest in z.

    Its measured metrics are given, as rows of the way "nearest". Raises EpsvaeError if nothing is
    known.
    """
    share = torch.tensor([float(s) for s in shares])[:, None]
    a, b = (end.expand(len(share), -1) for end in ends)
    rows = nearest(linear_average(a, b, share), known)[:, 0]
    return _frame("nearest", share, torch.tensor(metrics)[rows])


def interpolate_files(
    asked: TernaryMap, a: Path, b: Path, shares: Sequence[float] = SHARES
) -> pd.DataFrame:
    """`interpolate_checkpoints` between two files; a folder stands for its last checkpoint.

    With a calibrated map, a checkpoint off it is refused. Raises CheckpointError, which
    names the file, for that and for what cannot be read.
    """
    first, second = (last_checkpoint(Path(path)) for path in (a, b))
    for checkpoint in (first, second):
        look_on_map(asked, checkpoint, checkpoint.path)
    return interpolate_checkpoints(epsilon_vae(asked), first, second, shares)


def last_checkpoint(path: Path) -> Checkpoint:
    """A file's checkpoint; of a folder, the one of the latest epoch, or the last by name.

    Raises CheckpointError for a folder without checkpoints and for files that cannot be read.
    """
    checkpoints = [load_checkpoint(file) for file in checkpoint_files(path)]
    order = [-1.0 if c.epoch is None else c.epoch for c in checkpoints]
    return checkpoints[max(range(len(order)), key=lambda i: (order[i], i))]


def weights_of(model: EpsilonVAE, checkpoint: Checkpoint) -> Float[Tensor, "weights"]:
    """All parameters of a checkpoint that has the map's architecture; else CheckpointError."""
    if checkpoint.architecture != model.config.architecture:
        raise CheckpointError(
            f"{checkpoint.path}: expected the map's architecture {model.config.architecture}, "
            f"found {checkpoint.architecture}"
        )
    return extract_key_weights(checkpoint, "all")
