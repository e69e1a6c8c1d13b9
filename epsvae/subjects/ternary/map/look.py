"""One look at a checkpoint: a single sweep says where it lies, and whether that is on the map."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.map.calibrated import Facts, Place
from epsvae.subject import Metric
from epsvae.subjects.ternary.library.architecture import infer_architecture
from epsvae.subjects.ternary.library.files import (
    DEFAULT_MAX_RADIUS,
    Checkpoint,
    load_checkpoint,
)
from epsvae.subjects.ternary.library.layout import extract_key_weights
from epsvae.subjects.ternary.map.calibration import FILE, Calibration, load_calibration
from epsvae.subjects.ternary.map.files import AnyMap, load_epsilon_vae
from epsvae.subjects.ternary.map.fingerprint import fingerprint
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.offmap import Novelty
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE
from epsvae.subjects.ternary.map.sweep import Readings
from epsvae.subjects.ternary.metrics import METRICS
from epsvae.threads import one_thread
from epsvae.torch_files import find_state

UNKNOWN = np.full(len(METRICS), np.nan)


@dataclass(frozen=True, eq=False)
class TernaryMap:
    """A map of ternary networks with its calibration: a `CalibratedMap` for `uses/`.

    The default map reads any widths and depths; the seed's, which has no calibration, its own only.
    """

    model: AnyMap
    calibration: Calibration | None = None
    max_radius: float | None = None
    """Of networks in memory; where it is None, what they say of themselves."""

    def __post_init__(self) -> None:
        if self.max_radius is not None and not 0 < self.max_radius < 1:
            raise EpsvaeError(f"max_radius: expected a number in (0, 1), found {self.max_radius}")

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Coverage, distance correlation, radial hierarchy."""
        return METRICS

    @property
    def latent_dim(self) -> int:
        """Numbers in z."""
        config = self.model.config
        return config.latent if isinstance(config, SeedConfig) else config.latent_dim

    @property
    def calibrated(self) -> bool:
        """Are there intervals and an off-map score?"""
        return self.calibration is not None and isinstance(self.model, EpsilonVAE)

    def open(self, file: Path) -> Checkpoint:
        """Read a file; raises CheckpointError, naming it, for one that is no such checkpoint."""
        return load_checkpoint(file)

    def take(self, network: nn.Module | Mapping[str, Tensor]) -> Checkpoint:
        """A network in memory; raises CheckpointError for one of another kind."""
        contents = network.state_dict() if isinstance(network, nn.Module) else network
        state = {n: t.detach().to("cpu", torch.float32) for n, t in find_state(contents).items()}
        radius = float(getattr(network, "max_radius", DEFAULT_MAX_RADIUS))
        return Checkpoint(state, infer_architecture(state), self.max_radius or radius)

    def facts(self, checkpoint: Checkpoint) -> Facts:
        """What a checkpoint says of itself."""
        known = checkpoint.metrics
        return Facts(checkpoint.run, checkpoint.epoch, None if known is None else asdict(known))

    @torch.no_grad()
    def look(self, checkpoint: Checkpoint) -> Place:
        """Sweep a checkpoint once; raises CheckpointError for one that the map was not made for."""
        if not isinstance(self.model, EpsilonVAE):
            z = _key_weights_only(self.model, checkpoint)
            metrics = self.model.predict_metrics(z).double().numpy()
            return Place(z, metrics, UNKNOWN, UNKNOWN, float("nan"))
        return self.place(look(self.model, checkpoint, self.calibration))

    @torch.no_grad()
    def place(self, seen: "Look") -> Place:
        """What a look promises."""
        found = self.model.predict_metrics(seen.z)
        metrics, low, high = found.double().numpy(), UNKNOWN, UNKNOWN
        if self.calibration is not None:
            ends = self.calibration.intervals(seen.z[None].numpy(), metrics[None])
            low, high = (end[0] for end in ends)
        return Place(seen.z, metrics, low, high, seen.off_map, seen.why)

    def predict_metrics(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch 3"]:
        """Metrics of points of z."""
        return self.model.predict_metrics(z)


def open_map(path: Path | str) -> TernaryMap:
    """A map from its file, with the calibration that lies beside it, if there is one.

    Raises CheckpointError, naming the file, for what is not a whole map or calibration.
    """
    model, beside = load_epsilon_vae(path), Path(path).with_name(FILE)
    return TernaryMap(model, load_calibration(beside) if beside.is_file() else None)


def epsilon_vae(asked: TernaryMap) -> EpsilonVAE:
    """The default map behind it; raises EpsvaeError for one of the seed's."""
    if not isinstance(asked.model, EpsilonVAE):
        raise EpsvaeError(f"map: expected a default map, found {type(asked.model).__name__}")
    return asked.model


def _key_weights_only(model: AnyMap, checkpoint: Checkpoint) -> Float[Tensor, "latent"]:
    weights = extract_key_weights(checkpoint)
    assert isinstance(model, SeedVAE)
    if len(weights) != model.config.n_weights:
        raise CheckpointError(
            f"{checkpoint.path}: expected {model.config.n_weights} key weights, "
            f"found {len(weights)}"
        )
    return model.encode(weights)


@dataclass(frozen=True, eq=False)
class Look:
    """What one sweep of a checkpoint gives."""

    z: Float[Tensor, "latent"]
    readings: Readings
    """As the sweep gave them, in the checkpoint's own frame."""
    off_map: float
    """Above 1 is off the map; NaN without a calibration."""
    why: str
    """What stands out, in words; empty on the map."""


@one_thread()
@torch.no_grad()
def look(model: EpsilonVAE, checkpoint: Checkpoint, calibration: Calibration | None) -> Look:
    """Look at a checkpoint of any widths and depths.

    Raises CheckpointError for one that the map was not made for. What overflows has NaN in z.
    """
    seen = model.sweep_checkpoint(checkpoint)
    z = model.latent(model.in_frame(seen))[0]
    if calibration is None:
        return Look(z, seen, float("nan"), "")
    state = {name: tensor[None] for name, tensor in checkpoint.state.items()}
    novelty = calibration.offmap(fingerprint(seen, state, checkpoint.architecture))
    return Look(z, seen, float(novelty.score), next(reasons(novelty)))


def reasons(novelty: Novelty) -> Iterator[str]:
    """In words, what stands out of each checkpoint; empty where it is on the map."""
    parts = {"behaviour": novelty.reading, "weights": novelty.weights}
    for row in range(len(novelty.score)):
        found = [f"{n} ({p.block[row]})" for n, p in parts.items() if p.score[row] > 1]
        yield ", ".join(found)
