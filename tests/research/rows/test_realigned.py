"""The permutation symmetry as data, and weights that are matched to a reference through it."""

import numpy as np
import pytest
import torch

from epsvae.subjects.ternary import operation_trits
from epsvae.subjects.ternary.symmetry import hidden_layers
from research.rows import function, weights

pytestmark = pytest.mark.numbers


@pytest.mark.parametrize("architecture", ["small", "medium"])
def test_the_symmetry_is_that_of_the_network(architecture, request, make_split):
    """Permuting what `hidden_layers` names leaves every embedding where it is."""
    architecture = request.getfixturevalue(architecture)
    split = make_split(["a"], 2, architecture=architecture)
    state = split.layout.unflatten(torch.from_numpy(np.hstack([split.weights, split.rest])))
    for layer in hidden_layers(architecture):
        order = torch.randperm(state[layer.rows[0]].shape[1])
        for name in layer.rows:
            state[name] = state[name][:, order]
        for name in layer.columns:
            state[name] = state[name][..., order]
    moved = split.layout.flatten(state)
    assert not np.array_equal(moved[:, : split.weights.shape[1]], split.weights)
    found, _ = function.run_anchors(moved, architecture, operation_trits(split.anchors))
    np.testing.assert_allclose(found, split.embeddings, atol=1e-5)


def test_matching_undoes_a_permutation(data, permute, small):
    split = data.train
    vectors = torch.from_numpy(np.hstack([split.weights, split.rest]))
    moved = split.layout.flatten(permute(split.layout.unflatten(vectors[0]), small)).numpy()
    key = moved[: split.weights.shape[1]]
    assert np.abs(key - split.weights[0]).max() > 0.1
    found = weights.match(key, split.weights[0], small)
    np.testing.assert_array_equal(found, split.weights[0])
