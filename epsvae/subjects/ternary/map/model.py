"""The Epsilon-VAE: weights -> z -> anchor embeddings and three metrics.

z has 64 coordinates. The first 61 say where the anchors lie: principal components of the embeddings
on one common scale, so that distances in z are distances between embeddings. The last three are the
metrics on a scale without bounds. Everything that the map predicts, it predicts from z alone. The
prior is normal with its own spread in each coordinate, since a few directions hold most of what
checkpoints do.
"""

from dataclasses import asdict, dataclass, field, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES, PUBLISHED, Architecture
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.library.layout import all_layout, key_layout
from epsvae.subjects.ternary.map.coverage import CoverageReader
from epsvae.subjects.ternary.map.curve import Curve
from epsvae.subjects.ternary.map.frame import Frame
from epsvae.subjects.ternary.map.ranges import FINEST, MARGIN, inside_ball, link, unlink
from epsvae.subjects.ternary.map.sweep import Readings, Sweep
from epsvae.subjects.ternary.map.weights_out import WeightDecoder, WeightDecoderConfig
from epsvae.subjects.ternary.network import State
from epsvae.threads import calm, one_thread

N_METRICS = len(METRIC_NAMES)
CHECKPOINTS_AT_ONCE = 256
"""Checkpoints of a batch that are encoded at a time: 100 MB of weights."""


@dataclass(frozen=True)
class MapConfig:
    """What a map is made of, besides the library that it learns from."""

    latent_dim: int = 64
    n_probes: int = 128
    n_anchors: int = 256
    embedding_dim: int = 16
    n_centres: int = 0
    """Training checkpoints around which the decoder is curved; 0 for a flat one."""
    curve_rank: int = 96
    """Directions in which it is curved."""
    seed: int = 0
    """Draws the probes."""
    architecture: Architecture = field(default_factory=lambda: PUBLISHED)
    """Which checkpoints a plain weight vector stands for."""
    weight_decoder: WeightDecoderConfig | None = None
    """How z becomes weights again; None for a map that cannot do that."""

    @property
    def geometry_dim(self) -> int:
        """Coordinates of z that describe the anchors."""
        return self.latent_dim - N_METRICS

    asdict = asdict


class EpsilonVAE(nn.Module):
    """The default map. `fit_map` fills it in closed form, `fine_tune` trains it end to end.

    Weight vectors are the seed's 95,808 key weights or, better, all 101,662 parameters
    (`extract_key_weights(checkpoint, "all")`); what a key vector leaves out is taken to be the
    training library's mean. One vector or a batch: outputs have the matching rank.
    """

    readers: tuple[CoverageReader, nn.Linear, nn.Linear]
    rest_mean: Tensor
    shift: Tensor
    scale: Tensor
    prior_std: Tensor

    def __init__(self, config: MapConfig | None = None) -> None:
        super().__init__()
        config = config or MapConfig()
        self.config = config
        n_rest = all_layout(config.architecture).n_weights - self.n_key_weights
        n_probes, n_points = config.n_probes, config.n_anchors * config.embedding_dim
        self.sweep = Sweep(n_probes, torch.Generator().manual_seed(config.seed))
        self.frame = Frame(n_probes, config.embedding_dim)
        self.geometry = nn.Linear(n_probes * config.embedding_dim, config.geometry_dim)
        self.readers = nn.ModuleList(  # type: ignore[assignment]
            [
                CoverageReader(2 * n_probes),
                nn.Linear(n_probes * (n_probes - 1) // 2, 1),
                nn.Linear(n_probes, 1),
            ]
        )
        self.decoder = nn.Linear(config.geometry_dim, n_points)
        self.curve = Curve(config.geometry_dim, n_points, config.curve_rank, config.n_centres)
        self.weight_decoder: WeightDecoder | None = None
        if config.weight_decoder is not None:
            self.weight_decoder = WeightDecoder(
                config.architecture, config.latent_dim, config.weight_decoder
            )
        self.logvar = nn.Parameter(torch.zeros(config.latent_dim))
        self.register_buffer("rest_mean", torch.zeros(n_rest))
        self.register_buffer("shift", torch.zeros(N_METRICS))
        self.register_buffer("scale", torch.ones(N_METRICS))
        self.register_buffer("prior_std", torch.ones(config.latent_dim))

    @property
    def n_key_weights(self) -> int:
        """Length of a vector of key weights."""
        return key_layout(self.config.architecture).n_weights

    def complete(self, weights: Float[Tensor, "n weights"]) -> Float[Tensor, "n all_weights"]:
        """All parameters; a key vector is completed with the training library's mean.

        Raises ValueError for any other length.
        """
        n_all = self.n_key_weights + len(self.rest_mean)
        if weights.shape[-1] == n_all:
            return weights
        if weights.shape[-1] == self.n_key_weights:
            return torch.cat([weights, self.rest_mean.expand(len(weights), -1)], dim=1)
        raise ValueError(
            f"weights: expected {self.n_key_weights} key weights or all {n_all} parameters "
            f"a checkpoint, found {weights.shape[-1]}"
        )

    def read(self, weights: Float[Tensor, "n weights"]) -> Readings:
        """Sweep the probes through n checkpoints."""
        vectors = self.complete(weights)
        architecture = self.config.architecture
        state = all_layout(architecture).unflatten(vectors)
        return self.read_state(state, architecture, vectors[:, -1])

    def read_state(
        self, state: State, architecture: Architecture, max_radius: Float[Tensor, "n"]
    ) -> Readings:
        """Sweep the probes through n stacked checkpoints of any one architecture; what lives in
        another frame is turned into the library's."""
        return self.in_frame(self.sweep(state, architecture, max_radius))

    def in_frame(self, readings: Readings) -> Readings:
        """What lives in another frame turned into the library's."""
        return replace(readings, points=self.frame(readings.points))

    def encode(
        self, weights: Float[Tensor, "*batch weights"] | Checkpoint
    ) -> Float[Tensor, "*batch latent"]:
        """Latent z, the posterior's mean; of weight vectors, or of a checkpoint of any widths."""
        if isinstance(weights, Checkpoint):
            return self.encode_checkpoint(weights)
        return self.posterior(weights)[0]

    @one_thread()
    def encode_checkpoint(self, checkpoint: Checkpoint) -> Float[Tensor, "latent"]:
        """Latent z of a checkpoint of any architecture with the anchors' dimension.

        Raises CheckpointError for another dimension.
        """
        return self.latent(self.in_frame(self.sweep_checkpoint(checkpoint)))[0]

    def sweep_checkpoint(self, checkpoint: Checkpoint) -> Readings:
        """The probes swept through one checkpoint of any architecture, in its own frame.

        Raises CheckpointError for another dimension than the anchors'.
        """
        architecture, wanted = checkpoint.architecture, self.config.embedding_dim
        if architecture.latent_dim != wanted:
            raise CheckpointError(
                f"{checkpoint.path}: expected embeddings of dimension {wanted}, "
                f"found {architecture.latent_dim}"
            )
        state = {name: value[None] for name, value in checkpoint.state.items()}
        return self.sweep(state, architecture, torch.tensor([checkpoint.max_radius]))

    @calm()
    def posterior(
        self, weights: Float[Tensor, "*batch weights"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch latent"]]:
        """Mean and log-variance of q(z | weights)."""
        shape = (*weights.shape[:-1], self.config.latent_dim)
        if not weights.numel():
            mu = weights.new_zeros(shape)
            return mu, mu
        batch = weights.reshape(-1, weights.shape[-1])
        parts = [self.latent(self.read(part)) for part in batch.split(CHECKPOINTS_AT_ONCE)]
        mu = torch.cat(parts).view(shape)
        return mu, self.logvar.expand_as(mu)

    def latent(self, readings: Readings) -> Float[Tensor, "n latent"]:
        """z of each checkpoint from what its sweep gave."""
        features = readings.metric_features()
        metrics = [read(x) for read, x in zip(self.readers, features, strict=True)]
        linked = self.link(torch.cat(metrics, 1), FINEST)
        return torch.cat([self.geometry(readings.geometry()), linked], 1)

    def link(
        self, metrics: Float[Tensor, "*batch 3"], margin: float = MARGIN
    ) -> Float[Tensor, "*batch 3"]:
        """Metrics on the unbounded, standardised scale of z: logit for coverage, artanh else."""
        return (link(metrics, margin) - self.shift) / self.scale

    def predict_metrics(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch 3"]:
        """Coverage in (0, 1), distance correlation and radial hierarchy in (-1, 1)."""
        return unlink(z[..., -N_METRICS:] * self.scale + self.shift)

    def decode_embeddings(
        self, z: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch anchors dim"]:
        """Anchor embeddings, points strictly inside the Poincaré ball."""
        codes = z[..., : self.config.geometry_dim]
        points = self.decoder(codes) + self.curve(codes)
        points = points.unflatten(-1, (self.config.n_anchors, self.config.embedding_dim))
        return inside_ball(points)

    def decode_weights(
        self, z: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch all_weights"]:
        """All parameters of a network that does what z says, in the order of `all_layout`.

        Raises EpsvaeError if the map has no weight decoder.
        """
        layout = all_layout(self.config.architecture)
        parts = z.reshape(-1, z.shape[-1]).split(CHECKPOINTS_AT_ONCE)
        weights = torch.cat([layout.flatten(self.decode_state(part)) for part in parts])
        return weights.view(*z.shape[:-1], weights.shape[-1])

    def decode_state(self, z: Float[Tensor, "n latent"]) -> dict[str, Tensor]:
        """The same parameters by name, as one stack of networks; with their `MAX_RADIUS`."""
        if self.weight_decoder is None:
            raise EpsvaeError(
                "decode_weights: expected a map with a weight decoder, found one without; "
                "`fit_weight_decoder` trains one"
            )
        return self.weight_decoder.state(z)

    def forward(
        self, weights: Float[Tensor, "*batch weights"]
    ) -> tuple[Float[Tensor, "*batch anchors dim"], Float[Tensor, "*batch 3"]]:
        """(embeddings, metrics) of one checkpoint or of many."""
        z = self.encode(weights)
        return self.decode_embeddings(z), self.predict_metrics(z)
