"""A small neural-graph encoder (after Kofinas et al., 2024, and Navon et al., 2023).

A checkpoint is a graph: neurons are nodes, weights are edges, biases and norms are node features.
Messages go along the edges in both directions, scaled by functions of the weight, and every layer
of message passing is equivariant to the order of hidden units. Inputs and outputs, which have an
order, carry learned positions. Small means: edges have no hidden state of their own, so that a
layer is a few matrix products and one core trains it in minutes. `nfn`, the package of an
equivariant method (Zhou et al., 2023), was tried and left: with 16 channels on every weight of
encoder A alone, a step cost several times as much.
"""

from dataclasses import dataclass
from functools import cache

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.subjects.ternary import N_TRITS, Architecture
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.network import TRIT_VALUES, State
from research.rows.row import Predictor
from research.rows.training import Training, head, train_network

CHANNELS, LAYERS, EDGE_CHANNELS = 24, 4, 2
TRAINING = Training(epochs=36, lr=1e-3)
DEPTHS = {"encoder": 3, "direction": 1, "radius": 1, "decoder": 2}
"""Hidden layers of each block that are told apart: as many as the published network has. Deeper
ones are of the kind of the last."""

Nodes = dict[str, Float[Tensor, "n _ channels"]]


@dataclass(frozen=True)
class Edges:
    """One matrix: from which nodes to which, and of which kind both are."""

    name: str
    norm: str | None
    source: str
    target: str
    block: str


@cache
def graph_edges(architecture: Architecture) -> tuple[Edges, ...]:
    """The part of a network that decides its behaviour: encoder A, projection A, the decoder."""
    projection = architecture.projections[0]
    encoder = [name for name, *_ in architecture.linears("encoder_A")][:-1]
    norms = [name for name, _ in architecture.norms(projection)]
    direction, radius = architecture.nets(projection)
    decoder = [name for name, *_ in architecture.linears("decoder_A")]
    return (
        *_chain("encoder", encoder, "input", "mu"),
        *_chain("direction", direction, "mu", "direction", norms),
        *_chain("radius", radius, "mu", "radius"),
        *_chain("decoder", decoder, "mu", "logits"),
    )


def _chain(
    block: str, names: list[str], first: str, last: str, norms: list[str] | None = None
) -> list[Edges]:
    nodes = [first, *(f"{block} {i}" for i in range(len(names) - 1)), last]
    padded = [*(norms or []), *[None] * len(names)]
    return [Edges(name, padded[i], nodes[i], nodes[i + 1], block) for i, name in enumerate(names)]


def _kind(node: str) -> str:
    """Kind of a set of nodes: of an ordered one its name, of a hidden layer block and depth."""
    block, _, depth = node.partition(" ")
    return f"{block} {min(int(depth), DEPTHS[block] - 1)}" if depth else block


class MessageLayer(nn.Module):
    """Messages along all edges in both directions, then an update of every node."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        ways = [f"{block} {way}" for block in DEPTHS for way in "><"]
        self.messages = nn.ModuleDict(
            {way: nn.Linear(channels, EDGE_CHANNELS * channels, bias=False) for way in ways}
        )
        self.update = nn.Sequential(
            nn.LayerNorm(3 * channels),
            nn.Linear(3 * channels, 2 * channels),
            nn.SiLU(),
            nn.Linear(2 * channels, channels),
        )

    def forward(self, nodes: Nodes, edges: list[tuple[Edges, Tensor, Tensor]]) -> Nodes:
        """New node features; `edges` come with their matrices and the squares of these."""
        incoming = {name: torch.zeros_like(h) for name, h in nodes.items()}
        outgoing = {name: torch.zeros_like(h) for name, h in nodes.items()}
        for edge, weight, square in edges:
            forth = self.messages[f"{edge.block} >"](nodes[edge.source]).chunk(2, -1)
            back = self.messages[f"{edge.block} <"](nodes[edge.target]).chunk(2, -1)
            incoming[edge.target] = incoming[edge.target] + weight @ forth[0] + square @ forth[1]
            outgoing[edge.source] = (
                outgoing[edge.source] + weight.mT @ back[0] + square.mT @ back[1]
            )
        return {
            name: h + self.update(torch.cat([h, incoming[name], outgoing[name]], dim=-1))
            for name, h in nodes.items()
        }


class GraphEncoder(nn.Module):
    """Checkpoints to outputs, for any widths and depths with the same inputs and outputs."""

    def __init__(self, n_outputs: int, dim: int) -> None:
        super().__init__()
        self.ordered = {"input": N_TRITS, "mu": dim, "direction": dim, "radius": 1}
        self.ordered["logits"] = N_TRITS * TRIT_VALUES
        hidden = [f"{block} {depth}" for block, n in DEPTHS.items() for depth in range(n)]
        self.hidden = hidden
        sizes = self.ordered | dict.fromkeys(hidden, 1)
        self.place = nn.ParameterDict(
            {kind: nn.Parameter(torch.randn(size, CHANNELS)) for kind, size in sizes.items()}
        )
        self.bias = nn.Parameter(torch.randn(3, CHANNELS) / 3)
        self.radius = nn.Parameter(torch.randn(CHANNELS))
        self.layers = nn.ModuleList([MessageLayer(CHANNELS) for _ in range(LAYERS)])
        self.head = head((sum(self.ordered.values()) + len(hidden)) * CHANNELS, n_outputs)

    def forward(
        self, state: State, architecture: Architecture, max_radius: Float[Tensor, "n"]
    ) -> Float[Tensor, "n outputs"]:
        """Outputs of n stacked checkpoints."""
        edges = graph_edges(architecture)
        nodes = self._nodes(state, edges, max_radius)
        weights = [state[f"{edge.name}.weight"] for edge in edges]
        matrices = [(e, w, w.square()) for e, w in zip(edges, weights, strict=True)]
        for layer in self.layers:
            nodes = layer(nodes, matrices)
        return self.head(self._pool(nodes))

    def _nodes(
        self, state: State, edges: tuple[Edges, ...], max_radius: Float[Tensor, "n"]
    ) -> Nodes:
        n = len(max_radius)
        nodes = {"input": self.place["input"].expand(n, -1, -1)}
        for edge in edges:
            features = [state[f"{edge.name}.bias"]]
            if edge.norm:
                features += [state[f"{edge.norm}.{kind}"] for kind in ("weight", "bias")]
            values = torch.stack(features, dim=-1) @ self.bias[: len(features)]
            nodes[edge.target] = values + self.place[_kind(edge.target)]
        nodes["radius"] = nodes["radius"] + max_radius.view(-1, 1, 1) * self.radius
        return nodes

    def _pool(self, nodes: Nodes) -> Float[Tensor, "n features"]:
        """Ordered nodes one by one, hidden ones by the mean of their kind (0 for none)."""
        kept = [nodes[kind].flatten(1) for kind in self.ordered]
        for kind in self.hidden:
            found = [h for name, h in nodes.items() if _kind(name) == kind]
            kept.append(
                torch.cat(found, 1).mean(1) if found else torch.zeros_like(kept[0][:, :CHANNELS])
            )
        return torch.cat(kept, dim=1)


def neural_graph(data: MapData, seed: int, training: Training | None = None) -> Predictor:
    """Train a neural-graph encoder."""
    return train_network(GraphEncoder, data, training or TRAINING, seed)
