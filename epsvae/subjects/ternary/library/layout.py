"""The weight layout as data: which numbers of a network make up its vector, in which order."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from itertools import accumulate
from math import prod
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import Architecture
from epsvae.subjects.ternary.library.architecture import infer_architecture
from epsvae.subjects.ternary.library.files import Checkpoint

MAX_RADIUS = "max_radius"
"""Pseudo-parameter at the end of `all_layout`: what a forward pass needs besides weights."""


@dataclass(frozen=True)
class Layout:
    """Names and shapes of the parameters of a weight vector, in order.

    Law: ``layout.unflatten(layout.flatten(state))`` gives back the layout's part of `state`.
    """

    names: tuple[str, ...]
    shapes: tuple[tuple[int, ...], ...]

    @property
    def sizes(self) -> tuple[int, ...]:
        """How many numbers each parameter has."""
        return tuple(prod(shape) for shape in self.shapes)

    @property
    def n_weights(self) -> int:
        """Length of the vector."""
        return sum(self.sizes)

    @property
    def slices(self) -> dict[str, slice]:
        """Where in the vector each parameter lies."""
        stops = accumulate(self.sizes)
        parts = zip(self.names, self.sizes, stops, strict=True)
        return {name: slice(stop - size, stop) for name, size, stop in parts}

    def flatten(self, state: Mapping[str, Tensor]) -> Float[Tensor, "*batch weights"]:
        """One vector from a state, or from a stack of states with the same leading dimensions.

        Parameters that the layout does not name are ignored. Raises LibraryError if a parameter is
        missing or has another shape.
        """
        parts = []
        for name, shape in zip(self.names, self.shapes, strict=True):
            found = tuple(state[name].shape) if name in state else None
            if found is None or found[-len(shape) :] != shape:
                raise LibraryError(f"layout: expected {name} of shape {shape}, found {found}")
            parts.append(state[name].flatten(start_dim=-len(shape)))
        return torch.cat(parts, dim=-1)

    def unflatten(self, vector: Float[Tensor, "*batch weights"]) -> dict[str, Tensor]:
        """Parameters by name, as views into the vector; leading dimensions are kept.

        Raises LibraryError if the vector's last dimension is not `n_weights`.
        """
        if vector.dim() == 0 or vector.shape[-1] != self.n_weights:
            raise LibraryError(
                f"layout: expected vectors of {self.n_weights} weights, "
                f"found shape {tuple(vector.shape)}"
            )
        parts = vector.split(list(self.sizes), dim=-1)
        return {
            name: part.unflatten(-1, shape)
            for name, shape, part in zip(self.names, self.shapes, parts, strict=True)
        }


@cache
def key_layout(architecture: Architecture) -> Layout:
    """The key weights: matrices of encoders A and B, then of the projections; 95,808 as published.

    Encoders: trunk, fc_mu, fc_logvar. Projections: direction net, radius net. No biases, no norms,
    no decoder. One shared projection gives 93,216.
    """
    shapes = architecture.shapes()
    blocks = ("encoder_A", "encoder_B", *architecture.projections)
    names = [f"{name}.weight" for block in blocks for name, *_ in architecture.linears(block)]
    return Layout(tuple(names), tuple(shapes[name] for name in names))


@cache
def all_layout(architecture: Architecture) -> Layout:
    """The key weights, every other parameter, and last `MAX_RADIUS`: 101,661 + 1 as published.

    A key vector is a prefix of this one, and this one is all that a forward pass needs.
    """
    key = key_layout(architecture)
    rest = {n: shape for n, shape in architecture.shapes().items() if n not in key.names}
    return Layout((*key.names, *rest, MAX_RADIUS), (*key.shapes, *rest.values(), (1,)))


def extract_key_weights(
    source: Checkpoint | Mapping[str, Tensor], layout: Literal["key", "all"] = "key"
) -> Float[Tensor, "weights"]:
    """Weight vector of a checkpoint or of a plain state, by default the key weights.

    The vector with ``layout="all"`` ends in the checkpoint's max radius, which a plain state does
    not have. Raises LibraryError for that, CheckpointError for a state of another kind of network.
    """
    if layout not in ("key", "all"):
        raise LibraryError(f"layout: expected 'key' or 'all', found {layout!r}")
    if isinstance(source, Checkpoint):
        state, architecture = source.state, source.architecture
    else:
        state, architecture = dict(source), infer_architecture(source)
    if layout == "key":
        return key_layout(architecture).flatten(state)
    if not isinstance(source, Checkpoint):
        raise LibraryError("layout 'all': expected a Checkpoint, which has a max radius")
    state = state | {MAX_RADIUS: torch.tensor([source.max_radius])}
    return all_layout(architecture).flatten(state)
