"""The seed's models, exactly: the flat hybrid and, before it, the metrics-only model.

Source: "Epsilon-VAE: A Map of Checkpoint Behavior" (AI Whisperers, 2025), with the sizes of its
reference implementation. It says nothing of scaling the input or bounding the heads: the weights go
in as they are and the metrics come out unbounded.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn


@dataclass(frozen=True)
class SeedConfig:
    """Hyperparameters of the seed's recipe."""

    hybrid: bool = True
    """False: metrics only, the seed's "old" model; then there is no embedding decoder."""
    n_weights: int = 95_808
    latent_dim: int = 64
    encoder_widths: tuple[int, ...] = (512, 512, 256)
    decoder_widths: tuple[int, ...] = (256, 512, 512)
    head_widths: tuple[int, ...] = (128, 64)
    n_anchors: int = 256
    embedding_dim: int = 16
    dropout: float = 0.1
    lr: float = 1e-4
    weight_decay: float = 0.01
    epochs: int = 200
    batch_size: int = 32
    lambda_metric: float = 0.1
    beta: float = 0.001
    clip: float = 1.0


def mlp(sizes: Sequence[int], dropout: float) -> nn.Sequential:
    """Linear -> LayerNorm -> GELU -> dropout for each hidden size, then a linear layer."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in zip(sizes[:-2], sizes[1:-1], strict=True):
        layers += [
            nn.Linear(fan_in, fan_out),
            nn.LayerNorm(fan_out),
            nn.GELU(),
            nn.Dropout(dropout),
        ]
    return nn.Sequential(*layers, nn.Linear(sizes[-2], sizes[-1]))


class SeedVAE(nn.Module):
    """Flat weights -> z -> embeddings and metrics; one vector or a batch, the rank is kept."""

    def __init__(self, config: SeedConfig | None = None) -> None:
        super().__init__()
        config = config or SeedConfig()
        self.config = config
        latent, dropout = config.latent_dim, config.dropout
        self.encoder = mlp((config.n_weights, *config.encoder_widths, 2 * latent), dropout)
        self.head = mlp((latent, *config.head_widths, 3), dropout)
        n_points = config.n_anchors * config.embedding_dim
        sizes = (latent, *config.decoder_widths, n_points)
        self.decoder = mlp(sizes, dropout) if config.hybrid else None

    def posterior(
        self, weights: Float[Tensor, "*batch weights"]
    ) -> tuple[Float[Tensor, "*batch latent"], Float[Tensor, "*batch latent"]]:
        """Mean and log-variance of q(z | weights)."""
        mu, logvar = self.encoder(weights).chunk(2, dim=-1)
        return mu, logvar

    def encode(self, weights: Float[Tensor, "*batch weights"]) -> Float[Tensor, "*batch latent"]:
        """Latent z: the posterior's mean."""
        return self.posterior(weights)[0]

    def predict_metrics(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch 3"]:
        """Coverage, distance correlation, radial hierarchy; not bounded, as in the seed."""
        return self.head(z)

    def decode_embeddings(
        self, z: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch anchors dim"]:
        """Anchor embeddings; raises ValueError for a metrics-only model."""
        if self.decoder is None:
            raise ValueError("decode_embeddings: expected a hybrid model, found a metrics-only one")
        return self.decoder(z).unflatten(-1, (self.config.n_anchors, self.config.embedding_dim))
