"""Multiply-adds against counts by hand."""

import pytest
import torch
from torch import nn

from epsvae.subjects.ternary import N_OPERATIONS, PUBLISHED, evaluate, init_state
from epsvae.subjects.ternary.map.data import all_weights
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from research.bench.multiply_adds import multiply_adds
from research.bench.ways import closed_form_map, flat_encoder, full_evaluation

ENCODER = 9 * 256 + 256 * 128 + 128 * 64 + 64 * 16
PROJECTION = (16 * 64 + 64 * 16) + (16 * 32 + 32 * 1)
DECODER = 16 * 32 + 32 * 64 + 64 * 27
FORWARD = ENCODER + PROJECTION + DECODER
"""One operation through the published network: encoder A, projection A, decoder."""


def test_a_forward_pass_by_hand():
    assert FORWARD == 51_168


@pytest.mark.parametrize("n", [1, 7])
def test_a_linear_layer(n):
    assert multiply_adds(lambda: nn.Linear(5, 3)(torch.zeros(n, 5))) == n * 5 * 3


def test_what_is_done_element_by_element_is_not_counted():
    assert multiply_adds(lambda: torch.relu(torch.ones(10) * 2 + 1).sum()) == 0


def test_the_full_evaluation():
    state = init_state(PUBLISHED, torch.Generator().manual_seed(0))
    folded = 256 * 128 + 128 * 64 + 64 * 16 + 32 * 64 + 64 * 27  # biases go through once
    total = multiply_adds(lambda: evaluate(state, PUBLISHED, 0.95))
    assert total == N_OPERATIONS * FORWARD + folded


@pytest.mark.parametrize("n_probes", [6, 8])
@pytest.mark.parametrize("n", [1, 3])
def test_the_map(n_probes, n):
    model = EpsilonVAE(MapConfig(n_probes=n_probes, architecture=PUBLISHED)).eval()
    weights = torch.randn(n, 101_662) * 0.05
    weights[:, -1] = 0.9
    pairs = n_probes * (n_probes - 1) // 2
    reading = 16 * n_probes * 61 + 2 * 2 * n_probes + pairs + n_probes  # coverage is read twice
    assert multiply_adds(lambda: model.encode(weights)) == n * (n_probes * FORWARD + reading)


def test_the_flat_encoder_reads_with_one_large_matrix(data):
    way = flat_encoder(data)
    layers = 95_808 * 512 + 512 * 512 + 512 * 256 + 256 * 128
    head = 64 * 128 + 128 * 64 + 64 * 3
    weights = all_weights(data.test, slice(2))
    assert multiply_adds(lambda: way.metrics(weights)) == 2 * (layers + head)


def test_a_stack_costs_what_its_checkpoints_cost(data):
    for way in (full_evaluation(PUBLISHED), closed_form_map(data, 8)):
        one, two = (all_weights(data.test, slice(n)) for n in (1, 2))
        assert multiply_adds(lambda: way.metrics(two)) == 2 * multiply_adds(  # noqa: B023
            lambda: way.metrics(one)  # noqa: B023
        )
