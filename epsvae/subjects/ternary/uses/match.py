"""Hidden units of one network in the order of another's, so that an average makes sense.

Networks of different initialisations keep the same function in differently ordered units; to
average them without ordering them first mixes units that do different things.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from scipy.optimize import linear_sum_assignment
from torch import Tensor

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import Architecture
from epsvae.subjects.ternary.library.layout import all_layout
from epsvae.subjects.ternary.network import State
from epsvae.subjects.ternary.symmetry import HiddenLayer, hidden_layers, reorder

ROUNDS = 20
"""Sweeps over all layers, at most; a few are enough."""


def match_units(
    a: Float[Tensor, "weights"], b: Float[Tensor, "weights"], architecture: Architecture
) -> Float[Tensor, "weights"]:
    """b with its hidden units reordered to be as close to a as possible; b's function is unchanged.

    Layer after layer the best order given all others, until none changes (weight matching;
    Ainsworth, Hayase and Srinivasa, 2023). Raises EpsvaeError for weights that are not finite.
    """
    if not (a.isfinite().all() and b.isfinite().all()):
        raise EpsvaeError("weights: expected finite numbers, found NaN or infinity")
    layout = all_layout(architecture)
    wanted, state = layout.unflatten(a), layout.unflatten(b)
    return layout.flatten(match_layers(wanted, state, hidden_layers(architecture)))


def match_layers(
    wanted: State, state: State, layers: Sequence[HiddenLayer], rounds: int = ROUNDS
) -> State:
    """A state with the units of some layers in the order closest to that of the wanted one."""
    for _ in range(rounds):
        changed = False
        for layer in layers:
            alike = _likeness(wanted, state, layer)
            order = torch.from_numpy(linear_sum_assignment(alike, maximize=True)[1])
            if not torch.equal(order, torch.arange(len(order))):
                state, changed = reorder(state, layer, order), True
        if not changed:
            break
    return state


def _likeness(a: State, b: State, layer: HiddenLayer) -> Float[Tensor, "units units"]:
    """Inner products of each unit of a with each of b, over all that enters and leaves it."""
    rows = [(a[name].view(len(a[name]), -1), b[name].view(len(b[name]), -1)) for name in layer.rows]
    columns = [(a[name].T, b[name].T) for name in layer.columns]
    return torch.stack([x @ y.T for x, y in (*rows, *columns)]).sum(0)
