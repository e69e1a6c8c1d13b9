"""The permutation symmetry of a checkpoint, as data.

Hidden units have no order of their own: permuting the rows of what writes them and, alike, the
columns of what reads them leaves the function as it is.
"""

from dataclasses import dataclass
from functools import cache

from jaxtyping import Int
from torch import Tensor

from epsvae.subjects.ternary import Architecture
from epsvae.subjects.ternary.network import State


@dataclass(frozen=True)
class HiddenLayer:
    """One layer of interchangeable units."""

    rows: tuple[str, ...]
    """Parameters with one row (or one number) a unit."""
    columns: tuple[str, ...]
    """Matrices with one column a unit."""


@cache
def hidden_layers(architecture: Architecture) -> tuple[HiddenLayer, ...]:
    """Every hidden layer of a network: encoders, decoder, projections."""
    layers: list[HiddenLayer] = []
    for block in ("encoder_A", "encoder_B", "decoder_A", *architecture.projections):
        if not block.startswith("projection"):
            names = [name for name, *_ in architecture.linears(block)]
            layers += _chain(names, readers=2 if block.startswith("encoder") else 1)
            continue
        norms = [name for name, _ in architecture.norms(block)]
        direction, radius = architecture.nets(block)
        layers += _chain(direction, norms=norms) + _chain(radius)
    return tuple(layers)


def _chain(names: list[str], readers: int = 1, norms: list[str] | None = None) -> list[HiddenLayer]:
    """Hidden layers of linear layers in a row, of which the last `readers` are side by side."""
    hidden = names[:-readers]
    layers = []
    for i, name in enumerate(hidden):
        written = [name, norms[i]] if norms else [name]
        read = [names[i + 1]] if i + 1 < len(hidden) else names[-readers:]
        rows = tuple(f"{n}.{kind}" for n in written for kind in ("weight", "bias"))
        layers.append(HiddenLayer(rows, tuple(f"{n}.weight" for n in read)))
    return layers


def reorder(state: State, layer: HiddenLayer, order: Int[Tensor, "units"]) -> State:
    """The same function with the units of one layer in another order."""
    rows = {name: state[name][order] for name in layer.rows}
    columns = {name: state[name][:, order] for name in layer.columns}
    return {**state, **rows, **columns}
