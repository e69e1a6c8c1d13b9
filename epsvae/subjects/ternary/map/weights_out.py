"""Weights out of z: any point of the map becomes a network that runs.

A small hypernetwork (Ha et al., 2017) turns z into changes of one reference network: for each
matrix of encoder A a core between learned factors, whole matrices for projection A, every bias of
both, and the max radius. It is trained on what the decoded networks do (`train_weights`), never on
weights: many weights do the same.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.subjects.ternary import Architecture
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, Layout, all_layout

SMALLEST_RADIUS, LARGEST_RADIUS = 1e-3, 0.999
FIRST_STEP = 1e-3
"""Spread of the last layer at the start: decoded networks start as the reference."""


@dataclass(frozen=True)
class WeightDecoderConfig:
    """Size of the hypernetwork."""

    hidden: int = 160
    rank: int = 16
    """Size of the core by which each matrix of encoder A is changed."""


class WeightDecoder(nn.Module):
    """z -> all parameters of a network, in the order of `all_layout`.

    A straight path beside the hidden layers keeps it sane far from the training checkpoints. What
    reaches neither the embeddings nor the reconstruction (encoder B, projection B, `fc_logvar`) is
    the reference's; so is decoder A, which no run of a base ever changes.
    """

    reference: Tensor

    def __init__(
        self, architecture: Architecture, latent_dim: int, config: WeightDecoderConfig
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.layout = all_layout(architecture)
        shapes = dict(zip(self.layout.names, self.layout.shapes, strict=True))
        self.cored = [f"{name}.weight" for name in _encoder_linears(architecture)]
        biases = [f"{name}.bias" for name in _encoder_linears(architecture)]
        projection = [n for n in shapes if n.startswith(architecture.projections[0])]
        self.whole = [*biases, *projection, MAX_RADIUS]
        rank, hidden = config.rank, config.hidden
        self.left, self.right = (
            nn.ParameterList(
                torch.randn(shapes[n][side], rank) * shapes[n][side] ** -0.5 for n in self.cored
            )
            for side in (0, 1)
        )
        self.changes = Layout(
            (*self.cored, *self.whole),
            (*[(rank, rank)] * len(self.cored), *[shapes[n] for n in self.whole]),
        )
        self.bend = nn.Sequential(
            nn.Linear(latent_dim, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU()
        )
        self.head = nn.Linear(hidden + latent_dim, self.changes.n_weights)
        nn.init.normal_(self.head.weight, std=FIRST_STEP)
        nn.init.zeros_(self.head.bias)
        self.register_buffer("reference", torch.zeros(self.layout.n_weights))

    def state(self, z: Float[Tensor, "n latent"]) -> dict[str, Tensor]:
        """Decoded networks as one stack, with their max radii as `MAX_RADIUS` of shape (n, 1)."""
        changes = self.changes.unflatten(self.head(torch.cat([self.bend(z), z], dim=1)))
        state = self.layout.unflatten(self.reference.expand(len(z), -1))
        for name, left, right in zip(self.cored, self.left, self.right, strict=True):
            state[name] = state[name] + left @ changes[name] @ right.T
        for name in self.whole:
            state[name] = state[name] + changes[name]
        state[MAX_RADIUS] = state[MAX_RADIUS].clamp(SMALLEST_RADIUS, LARGEST_RADIUS)
        return state


def _encoder_linears(architecture: Architecture) -> list[str]:
    """What of encoder A reaches the means: all but `fc_logvar`."""
    names = [name for name, *_ in architecture.linears("encoder_A")]
    return [name for name in names if not name.endswith("fc_logvar")]
