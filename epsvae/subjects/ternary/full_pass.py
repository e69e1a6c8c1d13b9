"""One network on all 19,683 operations: what a full evaluation spends its time on.

The functions of `network`, arranged for a core's caches; the tests hold both against each other.
"""

from collections.abc import Sequence
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int8
from torch import Tensor

from epsvae.subjects.ternary.network import TRIT_VALUES, Architecture, State
from epsvae.subjects.ternary.operations import N_OPERATIONS, N_TRITS, all_operations

WIDE, NARROW = 729, 6561
"""Operations at a time where layers have hundreds of units, and where they have tens. Powers of 3,
so that every chunk is full."""
SHORTEST = 1e-12
"""Length by which a direction is divided at least, as in `torch.nn.functional.normalize`."""

Layers = Sequence[tuple[Tensor, Tensor]]
"""Of each hidden layer its weight (inp, out) and floor, of the last its weight and bias."""


@torch.no_grad()
def full_pass(
    state: State, architecture: Architecture, max_radius: float
) -> tuple[Float[Tensor, "19683 dim"], int]:
    """Embeddings of all operations, and how many operations are reconstructed."""
    *trunk, _, _ = (name for name, *_ in architecture.linears("encoder_A"))
    encoder = fold(state, [*trunk, "encoder_A.fc_mu"])
    decoder = fold(state, [name for name, *_ in architecture.linears("decoder_A")])
    means = torch.empty(N_OPERATIONS, architecture.latent_dim)
    points = torch.empty_like(means)
    for trits, mu in zip(all_operations().split(WIDE), means.split(WIDE), strict=True):
        run(encoder, trits, mu)
    logits = torch.empty(N_TRITS, TRIT_VALUES, NARROW)
    reconstructed = 0
    chunks = (means.split(NARROW), _trits_by_column().split(NARROW, dim=1), points.split(NARROW))
    for mu, trits, out in zip(*chunks, strict=True):
        _project(state, architecture, mu, max_radius, out)
        run(decoder, mu, logits.flatten(0, 1).T)
        reconstructed += count_reconstructed(logits, trits)
    return points, reconstructed


def _project(
    state: State,
    architecture: Architecture,
    mu: Float[Tensor, "n latent"],
    max_radius: float,
    out: Float[Tensor, "n latent"],
) -> None:
    """`network.project` by projection A, without gradients: in place where it can be."""
    block = architecture.projections[0]
    (*direction_hidden, direction_last), (*radius_hidden, radius_last) = architecture.nets(block)
    hidden = mu
    for name, (norm, width) in zip(direction_hidden, architecture.norms(block), strict=True):
        gain, shift = state[f"{norm}.weight"], state[f"{norm}.bias"]
        hidden = F.layer_norm(_linear(state, name, hidden), (width,), gain, shift)
        F.silu(hidden, inplace=True)
    direction = _linear(state, direction_last, hidden).add_(mu)
    hidden = mu
    for name in radius_hidden:
        hidden = F.silu(_linear(state, name, hidden), inplace=True)
    radius = _linear(state, radius_last, hidden).sigmoid_().mul_(max_radius)
    ones = mu.new_ones(mu.shape[1])  # x @ ones: twice as fast as x.sum(-1)
    length = (direction.square() @ ones).sqrt_().clamp_min_(SHORTEST)
    torch.mul(direction, radius.div_(length.unsqueeze(1)), out=out)


def _linear(state: State, name: str, x: Float[Tensor, "n inp"]) -> Float[Tensor, "n out"]:
    """`network.linear`, but the bias is added after the product and not copied before it."""
    return torch.mm(x, state[f"{name}.weight"].T).add_(state[f"{name}.bias"])


def fold(state: State, names: Sequence[str]) -> Layers:
    """Linear layers with ReLUs between them, as products and maxima.

    relu(x + b) = max(x, -b) + b, and that last b goes through the next layer's weight into its
    bias. A hidden layer then costs one pass after its product instead of three.
    """
    layers: list[tuple[Tensor, Tensor]] = []
    carried = torch.zeros(())
    for name in names:
        weight, bias = state[f"{name}.weight"].T.contiguous(), state[f"{name}.bias"]
        carried = bias + carried @ weight if layers else bias
        layers.append((weight, -carried))
    return [*layers[:-1], (layers[-1][0], carried)]


def run(layers: Layers, x: Float[Tensor, "n inp"], out: Float[Tensor, "n out"]) -> None:
    """Write what folded layers give for n inputs."""
    *hidden, (last, bias) = layers
    for weight, floor in hidden:
        x = torch.mm(x, weight)
        torch.maximum(x, floor, out=x)
    torch.mm(x, last, out=out).add_(bias)


@cache
def _trits_by_column() -> Int8[Tensor, "9 19683"]:
    return all_operations().T.contiguous().to(torch.int8)


def count_reconstructed(logits: Float[Tensor, "9 3 n"], trits: Int8[Tensor, "9 n"]) -> int:
    """How many operations have all nine trits right (the true value's logit is the largest).

    The first of equal logits counts, as in `argmax`, which is slow on so short a dimension.
    """
    low, middle, high = logits.unbind(1)
    is_high = high > torch.maximum(low, middle)
    is_low = (low >= middle) & ~is_high
    return int((is_high.char() - is_low.char() == trits).all(0).sum())
