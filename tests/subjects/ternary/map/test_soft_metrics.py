"""The smooth metrics: near the true ones on all operations, with gradients everywhere."""

import pytest
import torch

from epsvae.subjects.ternary import (
    decode,
    encode,
    evaluate,
    operation_trits,
    operation_valuations,
    project,
    target_radius,
)
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.map.soft_metrics import soft_hierarchy, soft_metrics

pytestmark = pytest.mark.numbers

SAMPLE = torch.randperm(19_683, generator=torch.Generator().manual_seed(0))[:2000]


def outputs(checkpoint, index):
    """Points and logits of one checkpoint, as a stack of one."""
    state = {name: value[None] for name, value in checkpoint.state.items()}
    architecture = checkpoint.architecture
    mu = encode(state, architecture, operation_trits(index))
    points = project(state, architecture, mu, checkpoint.max_radius)
    return points, decode(state, architecture, mu)


@pytest.mark.parametrize("place", [0, 5, 10])
@pytest.mark.parametrize("regime", ["frozen", "progressive", "unfrozen"])
def test_they_are_near_the_metrics(release, regime, place):
    index = release.index
    runs = index[(index.library == "aligned") & (index.regime == regime)]["run"].unique()
    files = [path for run in runs for path in release.checkpoint_files(run)]
    checkpoint = load_checkpoint(files[place])
    found = soft_metrics(*outputs(checkpoint, SAMPLE), SAMPLE)[0]
    true = evaluate(checkpoint.state, checkpoint.architecture, checkpoint.max_radius).vector()
    assert (found - torch.from_numpy(true)).abs().max() < 0.1


def test_a_perfect_hierarchy_reaches_the_best_value():
    radius = target_radius(operation_valuations()[SAMPLE])
    points = torch.zeros(1, len(SAMPLE), 16)
    points[..., 0] = radius
    assert soft_hierarchy(points, SAMPLE) < -0.8
    assert soft_hierarchy(-0.1 / points.clamp_min(0.1), SAMPLE) > 0.8


def test_gradients_are_finite_also_where_nothing_differs():
    """All points in one place, all logits equal, operations of one valuation."""
    index = torch.tensor([1, 2, 4, 5, 7, 8])
    for points in (torch.zeros(2, 6, 4), torch.full((2, 6, 4), 0.2)):
        points, logits = points.requires_grad_(), torch.zeros(2, 6, 9, 3, requires_grad=True)
        found = soft_metrics(points, logits, index)
        assert found.isfinite().all()
        assert found[:, 1:].abs().max() < 1e-6
        found.sum().backward()
        assert points.grad.isfinite().all()
        assert logits.grad.isfinite().all()
