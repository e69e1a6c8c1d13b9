"""The mapped network, TernaryVAE v5.11: two encoders, a decoder, two hyperbolic projections.

Every forward pass is a pure function of a `State` (name -> tensor). Tensors may carry a leading
"runs" dimension, and then many networks run at once: the factory trains this way, the map sweeps
its probes this way, and `TernaryVAE` is a thin module over the same functions.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.subjects.ternary.operations import N_TRITS

State = Mapping[str, Tensor]
"""Parameters by their published names, e.g. ``encoder_A.fc_mu.weight``."""

TRIT_VALUES = 3


@dataclass(frozen=True)
class Architecture:
    """What the shapes of a checkpoint say about it. The defaults are the published network."""

    encoder_widths: tuple[int, ...] = (256, 128, 64)
    latent_dim: int = 16
    decoder_widths: tuple[int, ...] = (32, 64)
    projection_hidden: int = 64
    projection_layers: int = 1
    projection_dropout: bool = False
    shared_projection: bool = False

    @property
    def radius_hidden(self) -> int:
        """Width of the radius net: half the direction net's, at least 32 (as published)."""
        return max(32, self.projection_hidden // 2)

    @property
    def projections(self) -> tuple[str, ...]:
        """Name prefixes of the projections, one if shared."""
        if self.shared_projection:
            return ("projection",)
        return ("projection.proj_A", "projection.proj_B")

    def linears(self, block: str) -> list[tuple[str, int, int]]:
        """(name, fan_in, fan_out) of each linear layer of a block, in forward order.

        A block is ``encoder_A``, ``encoder_B``, ``decoder_A`` or one of `projections`.
        """
        if block.startswith("encoder"):
            return self._encoder_linears(block)
        if block.startswith("decoder"):
            sizes = (self.latent_dim, *self.decoder_widths, TRIT_VALUES * N_TRITS)
            return _chain(f"{block}.decoder", sizes, stride=2)
        stride = 2 + self.projection_dropout
        hidden = [self.projection_hidden] * self.projection_layers
        radius_hidden = [self.radius_hidden] * self.projection_layers
        return [
            *_chain(
                f"{block}.direction_net", (self.latent_dim, *hidden, self.latent_dim), stride + 1
            ),
            *_chain(f"{block}.radius_net", (self.latent_dim, *radius_hidden, 1), stride),
        ]

    def _encoder_linears(self, block: str) -> list[tuple[str, int, int]]:
        trunk = _chain(f"{block}.encoder", (N_TRITS, *self.encoder_widths), stride=2)
        width = self.encoder_widths[-1]
        heads = [(f"{block}.{head}", width, self.latent_dim) for head in ("fc_mu", "fc_logvar")]
        return trunk + heads

    def nets(self, projection: str) -> tuple[list[str], list[str]]:
        """Names of a projection's linear layers: the direction net's, then the radius net's."""
        names = [name for name, *_ in self.linears(projection)]
        direction = [name for name in names if "direction_net" in name]
        return direction, [name for name in names if "radius_net" in name]

    def norms(self, block: str) -> list[tuple[str, int]]:
        """(name, width) of each LayerNorm of a projection: one behind every hidden linear layer."""
        stride = 3 + self.projection_dropout
        return [
            (f"{block}.direction_net.{stride * layer + 1}", self.projection_hidden)
            for layer in range(self.projection_layers)
        ]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Every parameter's name and shape, in the order of the published `state_dict`."""
        shapes: dict[str, tuple[int, ...]] = {}
        for block in ("encoder_A", "encoder_B", "decoder_A", *self.projections):
            layers: dict[str, tuple[int, ...]] = {
                name: (fan_out, fan_in) for name, fan_in, fan_out in self.linears(block)
            }
            if block.startswith("projection"):
                layers |= {name: (width,) for name, width in self.norms(block)}
            for name in sorted(layers) if block.startswith("projection") else layers:
                shapes[f"{name}.weight"] = layers[name]
                shapes[f"{name}.bias"] = layers[name][:1]
        return shapes


def _chain(prefix: str, sizes: tuple[int, ...], stride: int) -> list[tuple[str, int, int]]:
    """Linear layers prefix.0, prefix.stride, ... through the given sizes."""
    return [
        (f"{prefix}.{stride * i}", fan_in, fan_out)
        for i, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))
    ]


PUBLISHED = Architecture()


def init_state(architecture: Architecture, generator: torch.Generator) -> dict[str, Tensor]:
    """Fresh parameters: PyTorch's default uniform law for linear layers; projections start at
    the identity direction (last layer zero) and the middle radius (last bias zero)."""
    state: dict[str, Tensor] = {}
    for name, shape in architecture.shapes().items():
        if len(shape) == 2:
            bound = shape[1] ** -0.5
        if name.removesuffix(".weight").removesuffix(".bias") in _norm_names(architecture):
            state[name] = torch.ones(shape) if name.endswith("weight") else torch.zeros(shape)
        else:
            state[name] = torch.empty(shape).uniform_(-bound, bound, generator=generator)
    for block in architecture.projections:
        direction, radius = (names[-1] for names in architecture.nets(block))
        state[f"{direction}.weight"].zero_()
        state[f"{direction}.bias"].zero_()
        state[f"{radius}.bias"].zero_()
    return state


def _norm_names(architecture: Architecture) -> set[str]:
    return {name for block in architecture.projections for name, _ in architecture.norms(block)}


def linear(
    state: State, name: str, x: Float[Tensor, "*#runs n inp"]
) -> Float[Tensor, "*runs n out"]:
    """x W' + b with the parameters `name`, for one network or for a stack of them."""
    weight, bias = state[f"{name}.weight"], state.get(f"{name}.bias")
    if weight.dim() == 2:
        return F.linear(x, weight, bias)
    x = x.expand(weight.shape[0], *x.shape[-2:])
    if bias is None:
        return torch.bmm(x, weight.mT)
    return torch.baddbmm(bias.unsqueeze(-2), x, weight.mT)


def encode(
    state: State, architecture: Architecture, trits: Float[Tensor, "*#runs n 9"], encoder: str = "A"
) -> Float[Tensor, "*runs n latent"]:
    """Posterior mean mu of encoder A or B."""
    return linear(state, f"encoder_{encoder}.fc_mu", trunk(state, architecture, trits, encoder))


def trunk(
    state: State, architecture: Architecture, trits: Float[Tensor, "*#runs n 9"], encoder: str = "A"
) -> Float[Tensor, "*runs n width"]:
    """Last hidden layer of encoder A or B, from which `fc_mu` and `fc_logvar` read."""
    hidden = trits
    for name, *_ in architecture.linears(f"encoder_{encoder}")[:-2]:
        hidden = torch.relu_(linear(state, name, hidden))
    return hidden


def decode(
    state: State, architecture: Architecture, latent: Float[Tensor, "*#runs n latent"]
) -> Float[Tensor, "*runs n 9 3"]:
    """Logits of the three values of each trit, from a Euclidean latent point."""
    *hidden, last = [name for name, *_ in architecture.linears("decoder_A")]
    for name in hidden:
        latent = torch.relu_(linear(state, name, latent))
    return linear(state, last, latent).unflatten(-1, (N_TRITS, TRIT_VALUES))


def project(
    state: State,
    architecture: Architecture,
    mu: Float[Tensor, "*#runs n latent"],
    max_radius: float | Tensor,
    projection: str = "A",
) -> Float[Tensor, "*runs n latent"]:
    """normalise(mu + direction_net(mu)) * max_radius * sigmoid(radius_net(mu)), in the ball.

    `max_radius` is a number, or one number a run with shape (runs, 1, 1).
    """
    block = architecture.projections[{"A": 0, "B": -1}[projection]]
    (*direction_hidden, direction_last), (*radius_hidden, radius_last) = architecture.nets(block)
    hidden = mu
    for name, (norm, width) in zip(direction_hidden, architecture.norms(block), strict=True):
        hidden = F.silu(_layer_norm(state, norm, linear(state, name, hidden), width))
    direction = F.normalize(mu + linear(state, direction_last, hidden), dim=-1)
    hidden = mu
    for name in radius_hidden:
        hidden = F.silu(linear(state, name, hidden))
    return direction * (max_radius * torch.sigmoid(linear(state, radius_last, hidden)))


def _layer_norm(
    state: State, name: str, x: Float[Tensor, "*runs n width"], width: int
) -> Float[Tensor, "*runs n width"]:
    if f"{name}.weight" not in state:
        return F.layer_norm(x, (width,))
    weight, bias = state[f"{name}.weight"], state[f"{name}.bias"]
    if weight.dim() == 1:  # one network: the fused form is twice as fast
        return F.layer_norm(x, (width,), weight, bias)
    return F.layer_norm(x, (width,)) * weight.unsqueeze(-2) + bias.unsqueeze(-2)


def embed(
    state: State,
    architecture: Architecture,
    trits: Float[Tensor, "*#runs n 9"],
    max_radius: float | Tensor,
) -> Float[Tensor, "*runs n latent"]:
    """Points of the Poincaré ball for operations: encoder A's mean, projected by projection A."""
    return project(state, architecture, encode(state, architecture, trits), max_radius)


class TernaryVAE(nn.Module):
    """The network as an ordinary module, with the published parameter names.

    `module.state_dict()` of the original project loads here with `strict=True`, and ours there.
    """

    def __init__(
        self,
        architecture: Architecture = PUBLISHED,
        max_radius: float = 0.95,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.max_radius = max_radius
        generator = generator or torch.Generator().manual_seed(0)
        for name, value in init_state(architecture, generator).items():
            self._register(name, value)

    def _register(self, name: str, value: Tensor) -> None:
        *path, leaf = name.split(".")
        module: nn.Module = self
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(leaf, nn.Parameter(value))

    def forward(self, trits: Float[Tensor, "n 9"]) -> tuple[Tensor, Tensor]:
        """(embeddings, logits): points of the ball (n, 16) and reconstruction logits (n, 9, 3)."""
        state = dict(self.named_parameters())
        mu = encode(state, self.architecture, trits)
        embeddings = project(state, self.architecture, mu, self.max_radius)
        return embeddings, decode(state, self.architecture, mu)
