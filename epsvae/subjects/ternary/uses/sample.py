"""Sampling for discovery: what is promised of new points of z, and what they do.

A promise is checked in two steps. *Re-reading* lets the map read the network that it has decoded:
a prediction from weights instead of from a wish, at the price of two predictions. *Running* that
network on all operations settles the matter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from epsvae.checkpoints import checkpoint_files
from epsvae.errors import EpsvaeError
from epsvae.map.calibrated import look_on_map
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.map.look import TernaryMap, epsilon_vae
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.uses.decode import refuse_infinite, run_weights
from epsvae.uses.density import fit_density

COVERAGE, DISTANCE = 0.95, 0.8
"""Least coverage and distance correlation of a promising checkpoint, as in the seed."""


@dataclass(frozen=True, eq=False)
class Region:
    """A box of z without corners: a centre and a spread in each coordinate."""

    mean: Float[Tensor, "latent"]
    std: Float[Tensor, "latent"]

    def sample(
        self, n: int, generator: torch.Generator, size: float = 0.5
    ) -> Float[Tensor, "n latent"]:
        """Normal points around the centre, with `size` times the spread (the seed's half)."""
        noise = torch.randn(n, len(self.mean), generator=generator)
        return self.mean + size * self.std * noise


def region_of(z: Float[Tensor, "n latent"]) -> Region:
    """The region that some points of z span; raises EpsvaeError for fewer than two and for NaN."""
    refuse_infinite(z)
    if len(z) < 2:
        raise EpsvaeError(f"z: expected at least 2 points to span a region, found {len(z)}")
    return Region(z.mean(0), z.std(0))


def is_promising(
    metrics: Float[Tensor, "*batch 3"], coverage: float = COVERAGE, distance: float = DISTANCE
) -> Bool[Tensor, "*batch"]:
    """Where coverage and distance correlation both exceed what is wanted; false for NaN."""
    return (metrics[..., 0] > coverage) & (metrics[..., 1] > distance)


@torch.no_grad()
def reread(model: EpsilonVAE, z: Float[Tensor, "n latent"]) -> Float[Tensor, "n latent"]:
    """z of the networks that are decoded from z, as the map reads them.

    Where it differs from z, no network does what z says. Raises EpsvaeError for a map without a
    weight decoder and for a z that is not finite.
    """
    refuse_infinite(z)
    return model.encode(model.decode_weights(z))


def promises(
    model: EpsilonVAE,
    z: Float[Tensor, "n latent"],
    known: Float[Tensor, "m latent"],
    coverage: float = COVERAGE,
    distance: float = DISTANCE,
) -> pd.DataFrame:
    """Predict, re-read and run each point: one row a point, a full evaluation each.

    Columns: ``promised_coverage`` and so on, and those of `trials` for the decoded networks. No
    rows for no points. Raises EpsvaeError for points that are not finite.
    """
    refuse_infinite(z)
    with torch.no_grad():
        predicted = model.predict_metrics(z).double()
        weights = model.decode_weights(z)
    found = trials(model, weights, known, coverage, distance)
    return pd.concat([_frame("promised", predicted), found], axis=1)


@torch.no_grad()
def trials(
    model: EpsilonVAE,
    weights: Float[Tensor, "n weights"],
    known: Float[Tensor, "m latent"],
    coverage: float = COVERAGE,
    distance: float = DISTANCE,
) -> pd.DataFrame:
    """Read and run networks, wherever their weights come from: one row each.

    Columns: ``reread_`` and ``realised_`` with each metric's name; `passed` and `kept`, whether the
    one and the other are promising; `novelty`, how far in z the network as the map reads it lies
    from the nearest known checkpoint. Raises EpsvaeError for weights that put an embedding at NaN
    or infinity.
    """
    z = model.encode(weights)
    read = model.predict_metrics(z).double()
    run = run_weights(model.config.architecture, weights, 1).metrics
    frame = pd.concat([_frame("reread", read), _frame("realised", run)], axis=1)
    return frame.assign(
        passed=is_promising(read, coverage, distance).numpy(),
        kept=is_promising(run, coverage, distance).numpy(),
        novelty=nearest_distance(z, known).double().numpy(),
    )


def _frame(kind: str, metrics: Float[Tensor, "n 3"]) -> pd.DataFrame:
    return pd.DataFrame(metrics.numpy(), columns=[f"{kind}_{name}" for name in METRIC_NAMES])


def nearest_distance(
    z: Float[Tensor, "n latent"], known: Float[Tensor, "m latent"]
) -> Float[Tensor, "n"]:
    """Distance of each point to the nearest known one; infinite where nothing is known.

    Raises EpsvaeError for points that are not finite.
    """
    refuse_infinite(z)
    refuse_infinite(known, "known")
    if not len(known):
        return torch.full((len(z),), torch.inf)
    return torch.cdist(z, known).amin(1)


def discover_in_folder(
    asked: TernaryMap,
    folders: Sequence[Path],
    draws: int,
    generator: torch.Generator,
    coverage: float = COVERAGE,
    distance: float = DISTANCE,
) -> tuple[Float[Tensor, "n latent"], pd.DataFrame]:
    """Promising new points between the checkpoints of a folder: (z, `promises`).

    The kept ones come first, best distance correlation first. Fits a density to all checkpoints,
    draws from it, and runs what the map promises and re-reads as promising; nothing of that kind
    gives no rows. Raises CheckpointError, which names the file, for one that cannot be read or that
    is off a calibrated map, and EpsvaeError for fewer than two checkpoints.
    """
    files = [file for folder in folders for file in checkpoint_files(Path(folder))]
    if not files:
        raise EpsvaeError("folders: expected checkpoints to draw between, found none")
    model = epsilon_vae(asked)
    known = torch.stack([look_on_map(asked, asked.open(f), f).z for f in files])
    z = fit_density(known).sample(draws, generator)
    with torch.no_grad():
        z = z[is_promising(model.predict_metrics(z), coverage, distance)]
        z = z[is_promising(model.predict_metrics(reread(model, z)), coverage, distance)]
    found = promises(model, z, known, coverage, distance)
    order = found.sort_values(["kept", f"realised_{METRIC_NAMES[1]}"], ascending=False).index
    return z[torch.tensor(order.to_numpy(dtype="i8"))], found.loc[order].reset_index(drop=True)
