"""Virtual checkpoints: what is realised is what the file on disk does."""

import json

import pytest
import torch

from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.subjects.ternary import Architecture, Metrics, embed, evaluate, operation_trits
from epsvae.subjects.ternary.library.anchors import anchor_operations
from epsvae.subjects.ternary.library.files import load_checkpoint, save_checkpoint
from epsvae.subjects.ternary.library.layout import extract_key_weights
from epsvae.subjects.ternary.map.files import load_epsilon_vae, save_map
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.uses.decode import map_sha256, realise, run_weights, virtual_checkpoint

pytestmark = pytest.mark.numbers

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)


@pytest.fixture(scope="module")
def model(small_map):
    return small_map(0.1)


@pytest.fixture(scope="module")
def plain():
    """A map that has no weight decoder."""
    return EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, architecture=SMALL))


@pytest.fixture(scope="module")
def z():
    return torch.randn(5, 12, generator=torch.Generator().manual_seed(1))


def test_the_file_does_what_was_realised(model, z, tmp_path):
    """z -> file -> load -> evaluate gives the realised values."""
    realised = realise(model, z)
    for i, point in enumerate(z):
        path = tmp_path / f"virtual-{i}.safetensors"
        save_checkpoint(path, virtual_checkpoint(model, point))
        loaded = load_checkpoint(path)
        metrics = evaluate(loaded.state, loaded.architecture, loaded.max_radius).vector()
        assert realised.metrics[i].tolist() == pytest.approx(metrics, abs=1e-3)
        trits = operation_trits(anchor_operations())
        points = embed(loaded.state, loaded.architecture, trits, loaded.max_radius)
        torch.testing.assert_close(realised.embeddings[i], points, atol=1e-5, rtol=0)
        vector = extract_key_weights(loaded, "all")
        torch.testing.assert_close(vector, model.decode_weights(point), atol=1e-6, rtol=0)


def test_the_file_says_where_it_comes_from(model, z, tmp_path):
    path, source = tmp_path / "map.pt", {"source": "sampled", "seed": 3}
    save_map(model, path)
    save_checkpoint(tmp_path / "v.safetensors", virtual_checkpoint(model, z[0], None, source))
    loaded = load_checkpoint(tmp_path / "v.safetensors")
    facts = loaded.provenance
    assert facts["virtual"] is True
    assert facts["map_sha256"] == map_sha256(load_epsilon_vae(path))
    assert torch.equal(torch.tensor(facts["z"]), z[0])
    assert (facts["source"], facts["seed"]) == ("sampled", 3)
    promised = Metrics(**facts["predicted"]).vector()
    assert promised == pytest.approx(model.predict_metrics(z[0]).numpy(), abs=1e-6)
    assert loaded.metrics is None
    assert loaded.epoch is None


def test_a_prediction_of_ones_own(model, z):
    mine = Metrics(0.9, 0.8, -0.7)
    facts = virtual_checkpoint(model, z[0], mine).provenance
    assert facts["predicted"] == mine.asdict()
    json.dumps(facts)


def test_the_maps_hash_is_the_maps(model, z, tmp_path):
    save_map(model, tmp_path / "map.pt")
    other = load_epsilon_vae(tmp_path / "map.pt")
    assert map_sha256(model) == map_sha256(other)
    other.shift += 1e-3
    assert map_sha256(model) != map_sha256(other)


@pytest.mark.parametrize("shape", [(), (1,), (4,), (2, 2), (0,)])
def test_ranks(model, z, shape):
    points = z[:4].reshape(*shape, 12) if shape in ((4,), (2, 2)) else z[0].expand(*shape, 12)
    metrics, embeddings = realise(model, points)
    assert metrics.shape == (*shape, 3)
    assert embeddings.shape == (*shape, 256, 16)


def test_any_number_of_jobs_gives_the_same(model, z, monkeypatch):
    monkeypatch.setattr("epsvae.subjects.ternary.uses.decode.AT_ONCE", 2)
    threads = torch.get_num_threads()
    one, two = (realise(model, z, n_jobs) for n_jobs in (1, 2))
    torch.testing.assert_close(one.metrics, two.metrics)
    torch.testing.assert_close(one.embeddings, two.embeddings)
    assert torch.get_num_threads() == threads


def test_weights_from_anywhere(model, z):
    weights = model.decode_weights(z)
    found, known = run_weights(SMALL, weights), realise(model, z)
    torch.testing.assert_close(found.metrics, known.metrics)
    with pytest.raises(ValueError, match="expected parameters that give finite embeddings"):
        run_weights(SMALL, weights * torch.nan)


def test_a_map_without_a_weight_decoder_is_refused(plain, z):
    for use in (lambda: realise(plain, z), lambda: virtual_checkpoint(plain, z[0])):
        with pytest.raises(EpsvaeError, match="expected a map with a weight decoder"):
            use()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf])
def test_a_z_that_is_no_point_is_refused(model, z, bad):
    points = z.clone()
    points[3, 7] = bad
    with pytest.raises(EpsvaeError, match=r"z: expected finite coordinates.*rows \[3\]"):
        realise(model, points)
    with pytest.raises(EpsvaeError, match="z: expected finite coordinates"):
        virtual_checkpoint(model, points[3])


def test_a_full_disk_leaves_nothing(model, z, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(CheckpointError, match="cannot be written"):
        save_checkpoint(tmp_path / "file" / "v.safetensors", virtual_checkpoint(model, z[0]))
