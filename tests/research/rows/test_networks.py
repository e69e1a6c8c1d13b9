"""Networks of the rows that learn from scratch: symmetric, for any architecture, and they learn."""

import numpy as np
import pytest
import torch

from epsvae.subjects.ternary import PUBLISHED, init_state
from epsvae.subjects.ternary.map.data import run_mean, runs_of
from epsvae.subjects.ternary.map.scores import score
from research.rows.graph import GraphEncoder, graph_edges
from research.rows.training import ProbeEncoder, ShareUnexplained, Training, probe_encoder
from research.ternary.catalogue import ARCHITECTURES

ENCODERS = {"graph": lambda: GraphEncoder(5, 16), "probes": lambda: ProbeEncoder(5, 16, 8)}


@pytest.fixture(params=ENCODERS)
def encoder(request):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return ENCODERS[request.param]().eval()


def states(architecture, n=2):
    generator = torch.Generator().manual_seed(1)
    drawn = [init_state(architecture, generator) for _ in range(n)]
    return {name: torch.stack([state[name] for state in drawn]) for name in drawn[0]}


@torch.no_grad()
def test_the_order_of_hidden_units_does_not_matter(encoder, permute):
    """Sums in another order differ in the last digits, relative to how far two networks differ."""
    state, radius = states(PUBLISHED), torch.tensor([0.9, 0.95])
    one = {name: value[0] for name, value in state.items()}
    moved = {name: value[None] for name, value in permute(one, PUBLISHED).items()}
    found = encoder(moved, PUBLISHED, radius[:1])
    wanted = encoder(state, PUBLISHED, radius)
    moved_by = (found[0] - wanted[0]).abs().max()
    assert moved_by < 1e-2 * (wanted[0] - wanted[1]).abs().max()


@torch.no_grad()
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_architecture_can_be_read(encoder, name):
    architecture = ARCHITECTURES[name]
    found = encoder(states(architecture), architecture, torch.tensor([0.9, 0.95]))
    assert found.shape == (2, 5)
    assert found.isfinite().all()


@pytest.mark.parametrize("name", ["hidden-32", "deep-projection", "shared-projection"])
def test_the_graph_is_what_behaviour_depends_on(name):
    """Every matrix once, of the right shape between its two sets of nodes; encoder B is not in."""
    architecture = ARCHITECTURES[name]
    shapes, sizes = architecture.shapes(), {"input": 9}
    edges = graph_edges(architecture)
    for edge in edges:
        out, inp = shapes[f"{edge.name}.weight"]
        assert sizes[edge.source] == inp
        assert sizes.setdefault(edge.target, out) == out
        assert edge.norm is None or shapes[f"{edge.norm}.weight"] == (out,)
    names = [edge.name for edge in edges]
    assert len(set(names)) == len(names)
    read = ("encoder_A", "decoder_A", architecture.projections[0])
    wanted = {n.removesuffix(".weight") for n, s in shapes.items() if len(s) == 2}
    assert set(names) == {n for n in wanted if n.startswith(read) and "logvar" not in n}


def test_a_probe_encoder_learns(trained):
    predict = probe_encoder(trained, 0, Training(epochs=40, lr=2e-3, batch_size=16))
    mean = run_mean(trained.train.embeddings[:], runs_of(trained.train)).astype(np.float32)
    part = score(predict(trained.train), trained.train, mean).embedding
    assert part["squared_error"].sum() < 0.5 * part["mean_squared_error"].sum()


def test_the_mean_leaves_two_shares_unexplained():
    """One of the codes' variance, one of the metrics'."""
    wanted = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0)) * torch.arange(1, 9)
    loss = ShareUnexplained(wanted, 5)
    assert loss(wanted.mean(0).expand(1000, -1), wanted).item() == pytest.approx(2, abs=0.01)
    assert loss(wanted, wanted).item() == 0
