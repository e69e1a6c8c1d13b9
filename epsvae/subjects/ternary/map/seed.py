"""The seed's model, the reference of the book: a flat encoder, two decoding heads.

The recipe is the seed document's and, where that is silent (loss terms, place of the norms), that
of the published training script: mean squared errors, KL averaged over latent dimensions, LayerNorm
and GELU behind every hidden layer. Weights go in raw, without standardisation, and the metric head
is unbounded: predictions can leave the range, as the published ones did.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.library.layout import extract_key_weights


@dataclass(frozen=True)
class SeedConfig:
    """Everything that decides a seed model, beside the data and the random seed."""

    hybrid: bool = True
    """False is the seed's "old" model: the same encoder, trained on the three metrics alone."""
    latent: int = 64
    hidden: tuple[int, ...] = (512, 512, 256)
    decoder_hidden: tuple[int, ...] = (256, 512, 512)
    metric_hidden: tuple[int, ...] = (128, 64)
    dropout: float = 0.1
    """Behind every hidden layer of encoder and decoder but the last of each."""
    n_weights: int = 95_808
    n_anchors: int = 256
    dim: int = 16
    lambda_metric: float = 0.1
    """Weight of the metric loss; without embeddings to weigh it against, it is 1."""
    beta: float = 0.001
    lr: float = 1e-4
    weight_decay: float = 0.01
    epochs: int = 200
    """Horizon of the cosine schedule, which falls to 0 epoch by epoch."""
    batch_size: int = 32
    clip: float = 1.0
    """Largest norm of the gradient."""


def hidden_layers(sizes: tuple[int, ...], dropout: float = 0.0) -> nn.Sequential:
    """Linear, LayerNorm, GELU between neighbouring sizes; dropout behind all but the last."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(sizes[:-1], sizes[1:], strict=True):
        layers += [nn.Linear(fan_in, fan_out), nn.LayerNorm(fan_out), nn.GELU()]
        layers += [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(*(layers[:-1] if dropout else layers))


class FlatEncoder(nn.Module):
    """Flattened weights to the mean and log-variance of z: a sensible map if neurons are aligned.

    `first` holds 49 of the model's 52 million weights and is apart from `rest` so that training can
    write its gradient into a buffer that stays.
    """

    def __init__(self, config: SeedConfig) -> None:
        super().__init__()
        first, *blocks = hidden_layers((config.n_weights, *config.hidden), config.dropout)
        self.first = first
        self.rest = nn.Sequential(*blocks, nn.Linear(config.hidden[-1], 2 * config.latent))

    def forward(
        self, weights: Float[Tensor, "*batch weights"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch latent"]]:
        """(mu, logvar)."""
        return self.read(self.first(weights))

    def read(
        self, hidden: Float[Tensor, "*batch width"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch latent"]]:
        """(mu, logvar) from what the first layer made of the weights."""
        mu, logvar = self.rest(hidden).chunk(2, dim=-1)
        return mu, logvar


class EmbeddingDecoder(nn.Module):
    """z to anchor embeddings; nothing keeps them inside the ball."""

    def __init__(self, config: SeedConfig) -> None:
        super().__init__()
        self.shape = (config.n_anchors, config.dim)
        blocks = hidden_layers((config.latent, *config.decoder_hidden), config.dropout)
        last = nn.Linear(config.decoder_hidden[-1], config.n_anchors * config.dim)
        self.layers = nn.Sequential(*blocks, last)

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch anchors dim"]:
        """Embeddings (anchors, dim) of each z."""
        return self.layers(z).unflatten(-1, self.shape)


class MetricHead(nn.Module):
    """z to the three metrics, unbounded."""

    def __init__(self, config: SeedConfig) -> None:
        super().__init__()
        blocks = hidden_layers((config.latent, *config.metric_hidden))
        self.layers = nn.Sequential(*blocks, nn.Linear(config.metric_hidden[-1], len(METRIC_NAMES)))

    def forward(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch 3"]:
        """Metrics of each z, in the order of `METRIC_NAMES`."""
        return self.layers(z)


class SeedVAE(nn.Module):
    """The seed's Epsilon-VAE. Methods take one vector or a batch, and answer in that rank."""

    def __init__(self, config: SeedConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = FlatEncoder(config)
        self.decoder = EmbeddingDecoder(config) if config.hybrid else None
        self.metric_head = MetricHead(config)

    def posterior(
        self, weights: Float[Tensor, "*batch weights"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch latent"]]:
        """(mu, logvar) of z given the key weights.

        Raises EpsvaeError for another number of them.
        """
        if weights.shape[-1] != self.config.n_weights:
            raise EpsvaeError(
                f"weights: expected {self.config.n_weights} key weights a checkpoint, "
                f"found {weights.shape[-1]}"
            )
        return self.encoder(weights)

    def encode(
        self, weights: Float[Tensor, "*batch weights"] | Checkpoint
    ) -> Float[Tensor, "*batch latent"]:
        """z, the posterior's mean; of key weights or of a checkpoint's."""
        if isinstance(weights, Checkpoint):
            weights = extract_key_weights(weights)
        return self.posterior(weights)[0]

    def decode_embeddings(
        self, z: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch anchors dim"]:
        """Anchor embeddings of z; raises EpsvaeError for the metrics-only model, which has none."""
        if self.decoder is None:
            raise EpsvaeError("decode_embeddings: expected a hybrid model, found metrics-only")
        return self.decoder(z)

    def predict_metrics(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch 3"]:
        """Metrics of z, in the order of `METRIC_NAMES`."""
        return self.metric_head(z)


@dataclass(frozen=True, eq=False)
class SeedLoss:
    """The terms of the seed's loss, each a mean over everything it is made of."""

    embedding: Float[Tensor, ""]
    metric: Float[Tensor, ""]
    kl: Float[Tensor, ""]

    def total(self, config: SeedConfig) -> Float[Tensor, ""]:
        """embedding + lambda * metric + beta * KL: what training minimises."""
        return self.prediction(config) + config.beta * self.kl

    def prediction(self, config: SeedConfig) -> Float[Tensor, ""]:
        """The loss without KL: what chooses the best epoch, as published."""
        return self.embedding + (config.lambda_metric if config.hybrid else 1.0) * self.metric


def seed_loss(
    model: SeedVAE,
    posterior: tuple[Float[Tensor, "n latent"], Float[Tensor, "n latent"]],
    embeddings: Float[Tensor, "n anchors dim"],
    metrics: Float[Tensor, "n 3"],
) -> SeedLoss:
    """Losses of a batch; z is sampled from the posterior in training mode, its mean otherwise."""
    mu, logvar = posterior
    z = mu + (0.5 * logvar).exp() * torch.randn_like(mu) if model.training else mu
    embedding = torch.zeros(())
    if model.decoder is not None:
        embedding = F.mse_loss(model.decoder(z), embeddings)
    kl = 0.5 * (mu.square() + logvar.exp() - 1 - logvar).mean()
    return SeedLoss(embedding, F.mse_loss(model.predict_metrics(z), metrics), kl)
