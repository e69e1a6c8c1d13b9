"""The weight decoder: vectors in the layout, shapes as given, a file that holds it."""

import pytest
import torch

from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.subjects.ternary import Architecture, embed, init_state, operation_trits
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.map.files import load_epsilon_vae, save_map
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.weights_out import (
    LARGEST_RADIUS,
    SMALLEST_RADIUS,
    WeightDecoderConfig,
)

pytestmark = pytest.mark.numbers

SHARED = Architecture(
    encoder_widths=(12, 8),
    latent_dim=4,
    decoder_widths=(6,),
    projection_hidden=8,
    projection_layers=2,
    projection_dropout=True,
    shared_projection=True,
)


def make(architecture):
    """A map whose decoder's reference is a fresh network, moved a little by z."""
    torch.manual_seed(0)
    config = MapConfig(
        latent_dim=12,
        n_probes=6,
        embedding_dim=4,
        architecture=architecture,
        weight_decoder=WeightDecoderConfig(hidden=16, rank=3),
    )
    model = EpsilonVAE(config)
    state = init_state(architecture, torch.Generator().manual_seed(0))
    state[MAX_RADIUS] = torch.tensor([0.9])
    model.weight_decoder.reference.copy_(all_layout(architecture).flatten(state))
    torch.nn.init.normal_(model.weight_decoder.head.weight, std=0.05)
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module", params=["two projections", "one, deep, with dropout"])
def model(request, small):
    return make(small if request.param == "two projections" else SHARED)


@pytest.fixture(scope="module")
def z():
    return torch.randn(6, 12, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("shape", [(), (1,), (6,), (2, 3), (0,)])
def test_one_vector_or_a_batch(model, z, shape):
    n = all_layout(model.config.architecture).n_weights
    part = z[: max(1, torch.Size(shape).numel())]
    part = part.new_zeros(0, 12) if shape == (0,) else part.view(*shape, 12)
    weights = model.decode_weights(part)
    assert weights.shape == (*shape, n)
    flat = model.decode_weights(part.reshape(-1, 12))
    torch.testing.assert_close(weights.reshape(-1, n), flat, atol=1e-6, rtol=0)


def test_a_batch_in_parts_is_the_batch(model, z, monkeypatch):
    whole = model.decode_weights(z)
    monkeypatch.setattr("epsvae.subjects.ternary.map.model.CHECKPOINTS_AT_ONCE", 4)
    torch.testing.assert_close(model.decode_weights(z), whole, atol=1e-6, rtol=0)


def test_what_never_moves_is_the_reference(model, z):
    """Decoder A, encoder B and its projection, log-variances."""
    architecture = model.config.architecture
    layout = all_layout(architecture)
    found = layout.unflatten(model.decode_weights(z))
    reference = layout.unflatten(model.weight_decoder.reference)
    for name, values in found.items():
        fixed = ("encoder_B", "decoder_A", "projection.proj_B", "encoder_A.fc_logvar")
        if name.startswith(fixed):
            assert torch.equal(values, reference[name].expand_as(values)), name
        else:
            assert not torch.allclose(values, reference[name].expand_as(values)), name


def test_the_stack_and_the_vectors_are_the_same_networks(model, z):
    architecture = model.config.architecture
    trits = operation_trits(torch.arange(0, 19_683, 997))
    stack = model.weight_decoder.state(z)
    together = embed(stack, architecture, trits, stack[MAX_RADIUS].unsqueeze(-1))
    for vector, points in zip(model.decode_weights(z), together, strict=True):
        state = all_layout(architecture).unflatten(vector)
        alone = embed(state, architecture, trits, float(state[MAX_RADIUS]))
        torch.testing.assert_close(alone, points, atol=1e-6, rtol=0)


def test_far_away_the_radius_stays_inside_the_ball(model, z):
    radii = model.decode_weights(1e4 * z)[:, -1]
    assert radii.min() >= SMALLEST_RADIUS
    assert radii.max() <= torch.tensor(LARGEST_RADIUS)


def test_gradients_reach_z(model, z):
    z = z.clone().requires_grad_()
    architecture = model.config.architecture
    stack = model.weight_decoder.state(z)
    trits = operation_trits(torch.arange(5))
    embed(stack, architecture, trits, stack[MAX_RADIUS].unsqueeze(-1)).square().sum().backward()
    assert z.grad.isfinite().all()
    assert (z.grad != 0).all()


def test_a_map_without_one_says_so(small, z):
    model = EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, embedding_dim=4, architecture=small))
    with pytest.raises(EpsvaeError, match="expected a map with a weight decoder"):
        model.decode_weights(z)


def test_a_file_holds_it(model, z, tmp_path):
    save_map(model, tmp_path / "map.pt")
    loaded = load_epsilon_vae(tmp_path / "map.pt")
    assert loaded.config == model.config
    assert torch.equal(loaded.decode_weights(z), model.decode_weights(z))


def test_a_file_of_before_has_none(small, z, tmp_path):
    """Maps written before there were weight decoders have no word about them."""
    model = EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, embedding_dim=4, architecture=small))
    save_map(model, tmp_path / "map.pt")
    contents = torch.load(tmp_path / "map.pt")
    del contents["config"]["weight_decoder"]
    torch.save(contents, tmp_path / "map.pt")
    assert load_epsilon_vae(tmp_path / "map.pt").config == model.config


@pytest.mark.parametrize("decoder", [{"hidden": 16, "depth": 3}, {"hidden": 20, "rank": 3}, 7])
def test_a_file_with_another_decoder_is_refused(model, tmp_path, decoder):
    path = tmp_path / "map.pt"
    save_map(model, path)
    contents = torch.load(path)
    contents["config"]["weight_decoder"] = decoder
    torch.save(contents, path)
    with pytest.raises(CheckpointError, match="expected a whole EpsilonVAE"):
        load_epsilon_vae(path)
