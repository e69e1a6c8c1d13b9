"""The weight layout: published widths, and flatten and unflatten as inverses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsvae.errors import CheckpointError, LibraryError
from epsvae.subjects.ternary import PUBLISHED, Architecture, embed, init_state, operation_trits
from epsvae.subjects.ternary.library.architecture import infer_architecture
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.library.layout import all_layout, extract_key_weights, key_layout

widths = st.lists(st.integers(1, 9), min_size=1, max_size=3).map(tuple)
# Plain fields and not architectures: what checks their types draws random numbers, which
# hypothesis does not allow while it draws.
fields_of_architectures = st.fixed_dictionaries(
    {
        "encoder_widths": widths,
        "latent_dim": st.integers(1, 5),
        "decoder_widths": widths,
        "projection_hidden": st.integers(1, 9),
        "projection_layers": st.integers(1, 3),
        "projection_dropout": st.booleans(),
        "shared_projection": st.booleans(),
    }
)


def test_published_widths():
    assert key_layout(PUBLISHED).n_weights == 95_808
    assert all_layout(PUBLISHED).n_weights == 101_661 + 1
    assert key_layout(Architecture(shared_projection=True)).n_weights == 93_216
    assert len(key_layout(PUBLISHED).names) == 18


def test_published_order():
    names = key_layout(PUBLISHED).names
    assert names[:5] == (
        "encoder_A.encoder.0.weight",
        "encoder_A.encoder.2.weight",
        "encoder_A.encoder.4.weight",
        "encoder_A.fc_mu.weight",
        "encoder_A.fc_logvar.weight",
    )
    assert names[5:10] == tuple(name.replace("_A", "_B") for name in names[:5])
    assert names[10:14] == (
        "projection.proj_A.direction_net.0.weight",
        "projection.proj_A.direction_net.3.weight",
        "projection.proj_A.radius_net.0.weight",
        "projection.proj_A.radius_net.2.weight",
    )
    assert names[14:] == tuple(name.replace("_A", "_B") for name in names[10:14])


@given(fields=fields_of_architectures, batch=st.sampled_from([(), (2,), (2, 3)]))
def test_unflatten_inverts_flatten(fields, batch):
    layout = all_layout(Architecture(**fields))
    vector = torch.randn(*batch, layout.n_weights, generator=torch.Generator().manual_seed(0))
    state = layout.unflatten(vector)
    assert {n: t.shape[len(batch) :] for n, t in state.items()} == dict(
        zip(layout.names, layout.shapes, strict=True)
    )
    assert torch.equal(layout.flatten(state), vector)


@given(fields=fields_of_architectures)
def test_layouts_of_any_architecture(fields):
    architecture = Architecture(**fields)
    key, everything = key_layout(architecture), all_layout(architecture)
    assert everything.names[: len(key.names)] == key.names
    assert everything.names[-1] == "max_radius"
    assert sorted(everything.names[:-1]) == sorted(architecture.shapes())
    assert all(len(shape) == 2 for shape in key.shapes)
    assert not any("decoder" in name for name in key.names)
    assert infer_architecture(init_state(architecture, torch.Generator())) == architecture


def test_unflatten_gives_views(small):
    layout = key_layout(small)
    vector = torch.zeros(2, layout.n_weights)
    layout.unflatten(vector)[layout.names[1]].fill_(1.0)
    part = layout.slices[layout.names[1]]
    assert vector[:, part].eq(1).all()
    assert vector.sum() == 2 * layout.sizes[1]


def test_unflattened_stack_runs_as_networks_of_its_own(small, make_state):
    layout, trits = all_layout(small), operation_trits(torch.arange(5)).expand(2, -1, -1)
    checkpoints = [Checkpoint(make_state(seed=s), small, 0.8 + 0.1 * s) for s in range(2)]
    vectors = torch.stack([extract_key_weights(c, "all") for c in checkpoints])
    stacked = embed(layout.unflatten(vectors), small, trits, vectors[:, -1].view(-1, 1, 1))
    for points, c in zip(stacked, checkpoints, strict=True):
        torch.testing.assert_close(points, embed(c.state, small, trits[0], c.max_radius))


def test_key_weights_of_state_and_checkpoint(checkpoint):
    key = extract_key_weights(checkpoint)
    everything = extract_key_weights(checkpoint, "all")
    assert torch.equal(key, extract_key_weights(checkpoint.state))
    assert torch.equal(key, everything[: len(key)])
    assert everything[-1] == torch.tensor(0.9)


def test_errors(checkpoint, small):
    layout = key_layout(small)
    with pytest.raises(LibraryError, match=r"vectors of \d+ weights, found shape \(3,\)"):
        layout.unflatten(torch.zeros(3))
    with pytest.raises(LibraryError, match="encoder_A.encoder.0.weight of shape .* found None"):
        layout.flatten({})
    with pytest.raises(LibraryError, match=r"found \(2, 2\)"):
        layout.flatten(checkpoint.state | {"encoder_A.fc_mu.weight": torch.zeros(2, 2)})
    with pytest.raises(LibraryError, match="expected a Checkpoint"):
        extract_key_weights(checkpoint.state, "all")
    with pytest.raises(CheckpointError, match="TernaryVAE"):
        extract_key_weights({"layer1.0.conv1.weight": torch.zeros(3, 3, 3, 3)})
