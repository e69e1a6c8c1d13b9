"""The fingerprint of a checkpoint: what the sweep reads, and what single layers look like.

Three blocks hold what the sweep read: where probes land, how far apart, by what margin they are
reconstructed. The others are about weights: singular values of each layer, and how much
neighbouring layers fit each other, which training makes and damage breaks. No block changes when
hidden units are permuted or ReLU units rescaled.
"""

from collections.abc import Iterator, Mapping
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.subjects.ternary import Architecture
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.sweep import Readings, pairwise_distances
from epsvae.subjects.ternary.network import State

READINGS = ("points", "pairs", "margins")
"""Blocks that the sweep read; all others are about weights."""
PAIR_STEP = 4
"""Pairs among every fourth probe say enough."""
NEAR = 1e-2
"""Added to a Poincaré distance before its logarithm."""
FLOOR = 1e-3
"""Added to a singular value, or a coupling, before its logarithm."""
HUGE = 1e6
"""Weights beyond it, of a corrupt file, count as this large."""

Fingerprint = dict[str, Float[Tensor, "n _"]]
"""Features of n checkpoints, by block."""


@torch.no_grad()
def fingerprint(seen: Readings, state: State, architecture: Architecture) -> Fingerprint:
    """Fingerprint of n stacked checkpoints of one architecture, from their sweep.

    `seen` is what the sweep gave before a foreign frame is turned.
    """
    pairs = pairwise_distances(seen.points[:, ::PAIR_STEP])
    return {
        "points": seen.points.flatten(1),
        "pairs": torch.log(pairs + NEAR),
        "margins": torch.tanh(seen.margins / 4),
        **dict(_weight_blocks(state, architecture)),
    }


def checkpoint_fingerprint(model: EpsilonVAE, checkpoint: Checkpoint) -> Fingerprint:
    """Fingerprint of one checkpoint, of any widths and depths."""
    state = {name: tensor[None] for name, tensor in checkpoint.state.items()}
    return fingerprint(model.sweep_checkpoint(checkpoint), state, checkpoint.architecture)


def _weight_blocks(
    state: State, architecture: Architecture
) -> Iterator[tuple[str, Float[Tensor, "n _"]]]:
    """(block, features): log singular values of each layer, log couplings of each network."""
    for name, chains, norms in _networks(architecture):
        couplings, seen = [], set()
        for chain in chains:
            matrices = _standard_form(state, chain, norms)
            for layer, matrix in zip(chain, matrices, strict=True):
                if layer not in seen:
                    yield f"{layer} values", torch.log(torch.linalg.svdvals(matrix) + FLOOR)
                seen.add(layer)
            couplings += [_coupling(a, b) for a, b in pairwise(matrices)]
        yield f"{name} coupling", torch.stack(couplings, dim=1)


def _networks(
    architecture: Architecture,
) -> Iterator[tuple[str, list[list[str]], dict[str, str]]]:
    """(name, chains of layers from input to output, LayerNorm behind a layer)."""
    for block in ("encoder_A", "encoder_B"):
        *trunk, mu, logvar = [name for name, *_ in architecture.linears(block)]
        yield block, [[*trunk, mu], [*trunk, logvar]], {}
    yield "decoder_A", [[name for name, *_ in architecture.linears("decoder_A")]], {}
    for block in architecture.projections:
        direction, radius = architecture.nets(block)
        norms = [name for name, _ in architecture.norms(block)]
        yield block, [direction, radius], dict(zip(direction[:-1], norms, strict=True))


def _standard_form(
    state: State, chain: list[str], norms: Mapping[str, str]
) -> list[Float[Tensor, "n out inp_and_bias"]]:
    """[weight | bias] of each layer, its hidden ReLU units rescaled to length 1.

    What reads a unit is scaled the other way round, so that the network computes the same: the
    result does not depend on how its ReLU units are scaled. A LayerNorm's gain and bias belong to
    the layer before it.
    """
    matrices, scale = [], None
    relu = not chain[0].startswith("projection")
    for layer in chain:
        weight, bias = (state[f"{layer}.{n}"].clamp(-HUGE, HUGE) for n in ("weight", "bias"))
        bias = bias.unsqueeze(-1)
        if scale is not None:
            weight = weight * scale.mT
        columns = [weight, bias]
        if layer in norms:
            gain, shift = (state[f"{norms[layer]}.{n}"].unsqueeze(-1) for n in ("weight", "bias"))
            columns = [gain * weight, gain * bias, shift]
        matrix = torch.cat(columns, dim=-1)
        if relu and layer != chain[-1]:
            scale = matrix.norm(dim=-1, keepdim=True).clamp(FLOOR, HUGE)
            matrix = matrix / scale
        matrices.append(matrix)
    return matrices


def _coupling(
    first: Float[Tensor, "n hidden inp"], second: Float[Tensor, "n out hidden_and_more"]
) -> Float[Tensor, "n"]:
    """log |second first| / (|second| |first|), Frobenius norms: do the layers fit each other?"""
    second = second[..., : first.shape[1]]
    product = (second @ first).flatten(1).norm(dim=1)
    lengths = first.flatten(1).norm(dim=1) * second.flatten(1).norm(dim=1)
    return torch.log(product / lengths.clamp_min(FLOOR) + FLOOR)
