"""The default map: inside its bounds, and the same for all weights of one function."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsvae.errors import CheckpointError
from epsvae.subjects.ternary import PUBLISHED, Architecture, embed, init_state, operation_trits
from epsvae.subjects.ternary.library.files import Checkpoint, load_checkpoint
from epsvae.subjects.ternary.library.layout import extract_key_weights
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE

pytestmark = pytest.mark.numbers


@pytest.fixture(scope="module")
def checkpoints(release):
    """Real checkpoints, one of each regime and from different ages."""
    files = [release.checkpoint_files(run) for run in sorted({*_runs(release)})]
    return [load_checkpoint(run[3 * i + 1]) for i, run in enumerate(files[:4])]


def _runs(release):
    return (path.parent.name for path in release.checkpoint_files())


@pytest.fixture(scope="module")
def equivalents(checkpoints, permute, rescale):
    """(checkpoint, another one with the same function) by the symmetry between them."""

    def both(state, architecture):
        return permute(rescale(state, architecture, seed=1), architecture, seed=2)

    return {
        name: [(c, replace(c, state=change(c.state, c.architecture))) for c in checkpoints]
        for name, change in (("permuted", permute), ("rescaled", rescale), ("both", both))
    }


SYMMETRIES = ["permuted", "rescaled", "both"]


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_the_symmetries_change_weights_and_no_function(equivalents, symmetry):
    trits = operation_trits(torch.arange(0, 19_683, 97))
    for a, b in equivalents[symmetry]:
        assert (extract_key_weights(a) - extract_key_weights(b)).norm() > 1
        points = [embed(c.state, c.architecture, trits, c.max_radius) for c in (a, b)]
        torch.testing.assert_close(*points, atol=2e-6, rtol=0)


@pytest.mark.parametrize("symmetry", SYMMETRIES)
def test_the_map_sees_functions(model, equivalents, symmetry):
    """In single precision: 1e-5, what sums in another order leave."""
    for a, b in equivalents[symmetry]:
        z, moved = (model.encode(extract_key_weights(c, "all")) for c in (a, b))
        assert (z - moved).abs().max() <= 1e-5 * max(1.0, z.abs().max())
        for ask in (model.decode_embeddings, model.predict_metrics):
            assert (ask(z) - ask(moved)).abs().max() <= 1e-5


@pytest.mark.parametrize("symmetry", ["permute", "rescale"])
def test_invariance_is_exact(release, checkpoints, request, symmetry):
    """In double precision nothing is left of the 1e-5."""
    exact, change = release.map("aligned").double(), request.getfixturevalue(symmetry)
    for checkpoint in checkpoints[:2]:
        state = {name: tensor.double() for name, tensor in checkpoint.state.items()}
        moved = change(state, checkpoint.architecture)
        pair = [
            exact.encode(extract_key_weights(replace(checkpoint, state=s), "all"))
            for s in (state, moved)
        ]
        torch.testing.assert_close(*pair, atol=1e-11, rtol=0)


def test_a_flat_encoder_sees_positions(equivalents):
    """The same audit on the seed's design, with an untrained, narrower encoder."""
    torch.manual_seed(0)
    flat = SeedVAE(SeedConfig(hidden=(64, 64, 32))).eval()
    for a, b in equivalents["permuted"]:
        z, moved = (flat.encode(extract_key_weights(c)) for c in (a, b))
        assert (z - moved).norm() > 1e-2 * z.norm()


def test_a_checkpoint_is_its_weight_vector(model, checkpoints):
    for checkpoint in checkpoints:
        z = model.encode(checkpoint)
        assert z.shape == (64,)
        torch.testing.assert_close(z, model.encode(extract_key_weights(checkpoint, "all")))


@pytest.mark.parametrize(
    "architecture",
    [
        Architecture(encoder_widths=(30, 20)),
        Architecture(projection_hidden=128),
        Architecture(projection_layers=2, shared_projection=True),
    ],
)
def test_checkpoints_of_other_widths_have_a_place_too(model, architecture):
    state = init_state(architecture, torch.Generator().manual_seed(0))
    z = model.encode(Checkpoint(state, architecture))
    assert z.shape == (64,)
    assert z.isfinite().all()
    assert model.decode_embeddings(z).norm(dim=-1).max() < 1


def test_another_latent_dimension_is_refused_by_path(model, tmp_path):
    architecture = Architecture(latent_dim=8)
    state = init_state(architecture, torch.Generator().manual_seed(0))
    path = tmp_path / "latent-8.pt"
    torch.save({"model": state}, path)
    with pytest.raises(CheckpointError) as caught:
        model.encode(load_checkpoint(path))
    assert str(caught.value) == f"{path}: expected embeddings of dimension 16, found 8"


@pytest.mark.parametrize("n", [1, 93_216, 95_807, 101_661])
@pytest.mark.parametrize("batch", [(), (3,)])
def test_vectors_of_another_length_are_refused(model, n, batch):
    with pytest.raises(ValueError, match=f"expected 95808 key weights or all 101662 .* found {n}$"):
        model.encode(torch.zeros(*batch, n))


@given(st.integers(0, 10_000), st.floats(0, 100))
def test_no_z_leaves_the_bounds(seed, scale):
    """Wherever z lies: metrics in their ranges, points strictly inside the ball, all finite."""
    model = _random_map()
    z = scale * torch.randn(3, 12, generator=torch.Generator().manual_seed(seed))
    coverage, *correlations = model.predict_metrics(z).T
    assert ((coverage >= 0) & (coverage <= 1)).all()
    assert all(((c >= -1) & (c <= 1)).all() for c in correlations)
    points = model.decode_embeddings(z)
    assert points.isfinite().all()
    assert points.norm(dim=-1).max() < 1


def _random_map():
    torch.manual_seed(0)
    return EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, embedding_dim=4)).requires_grad_(False)


@given(st.integers(0, 10_000))
def test_metrics_and_their_link_are_inverse(seed):
    model = _random_map()
    metrics = torch.rand(5, 3, generator=torch.Generator().manual_seed(seed)) * 0.98 + 0.01
    z = torch.cat([torch.zeros(5, 9), model.link(metrics)], dim=1)
    torch.testing.assert_close(model.predict_metrics(z), metrics, atol=1e-5, rtol=0)


def test_perfect_metrics_have_a_finite_link():
    edges = torch.tensor([[0.0, -1.0, -1.0], [1.0, 1.0, 1.0]])
    assert _random_map().link(edges).isfinite().all()


def test_the_published_contract(model):
    assert model.config.architecture == PUBLISHED
    weights = torch.zeros(95_808)
    z = model.encode(weights)
    assert z.shape == (64,)
    assert model.decode_embeddings(z).shape == (256, 16)
    assert model.predict_metrics(z).shape == (3,)
    embeddings, metrics = model(weights)
    assert torch.equal(embeddings, model.decode_embeddings(z))
    assert torch.equal(metrics, model.predict_metrics(z))


def test_no_checkpoints_have_no_latents(model):
    z = model.encode(torch.zeros(0, model.n_key_weights))
    assert z.shape == (0, model.config.latent_dim)
    assert model.predict_metrics(z).shape == (0, 3)
