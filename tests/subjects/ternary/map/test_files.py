"""Maps on disk: what is saved answers the same, and what is no map is refused by path."""

import os
from dataclasses import asdict

import pytest
import torch

from epsvae.errors import CheckpointError
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.library.layout import key_layout
from epsvae.subjects.ternary.map.data import key_weights
from epsvae.subjects.ternary.map.files import FORMAT, load_epsilon_vae, save_map
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE


@pytest.fixture(params=["default", "seed", "metrics-only"])
def model(request, small):
    """A small map of each kind."""
    torch.manual_seed(0)
    if request.param == "default":
        config = MapConfig(latent_dim=12, n_probes=6, embedding_dim=4, architecture=small)
        return EpsilonVAE(config)
    n, hybrid = key_layout(small).n_weights, request.param == "seed"
    return SeedVAE(SeedConfig(hybrid, latent=12, hidden=(16, 16), n_weights=n, dim=4))


@pytest.fixture
def default(small):
    return EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, embedding_dim=4, architecture=small))


@pytest.fixture
def write(default, tmp_path):
    """(changes) -> path of a saved map whose contents were changed."""

    def write(**changes):
        contents = {
            "format": FORMAT,
            "kind": "EpsilonVAE",
            "config": asdict(default.config),
            "state": default.state_dict(),
        } | changes
        torch.save({k: v for k, v in contents.items() if v is not None}, tmp_path / "map.pt")
        return tmp_path / "map.pt"

    return write


def refused(path):
    """The one line in which a file is refused."""
    with pytest.raises(CheckpointError) as caught:
        load_epsilon_vae(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: expected ")
    assert "\n" not in message
    return message


def test_a_loaded_map_answers_the_same(model, data, tmp_path):
    path = tmp_path / "models" / "best.pt"
    save_map(model, path)
    loaded = load_epsilon_vae(path)
    assert type(loaded) is type(model)
    assert loaded.config == model.config
    weights = key_weights(data.test)
    with torch.no_grad():
        z = model.eval().encode(weights)
        assert torch.equal(loaded.encode(weights), z)
        assert torch.equal(loaded.predict_metrics(z), model.predict_metrics(z))
        if getattr(model, "decoder", None) is not None:
            assert torch.equal(loaded.decode_embeddings(z), model.decode_embeddings(z))


def test_a_loaded_map_is_for_use(model, data, tmp_path):
    """Evaluation mode, and plain numbers: what it gives goes into scikit-learn as it is."""
    save_map(model.train(), tmp_path / "map.pt")
    loaded = load_epsilon_vae(tmp_path / "map.pt")
    assert not loaded.training
    z = loaded.encode(key_weights(data.test))
    assert not z.requires_grad
    assert z.numpy().shape == (12, 12)


def test_the_released_maps_load(release):
    for library in ("aligned", "unaligned"):
        assert isinstance(release.map(library), EpsilonVAE)


@pytest.mark.parametrize("contents", [b"", b"text\n" * 50, b"\x89PNG\r\n" + bytes(100)])
def test_files_that_are_no_maps(tmp_path, contents):
    path = tmp_path / "map.pt"
    path.write_bytes(contents)
    assert "found" in refused(path)


def test_missing_files_and_folders(tmp_path):
    for path in (tmp_path / "missing.pt", tmp_path):
        assert refused(path).endswith("expected a map, found no file")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
def test_truncated_maps(default, tmp_path, share):
    path = tmp_path / "map.pt"
    save_map(default, path)
    contents = path.read_bytes()
    path.write_bytes(contents[: int(share * len(contents))])
    assert "found a damaged or other file" in refused(path)


def test_code_in_a_map_is_not_run(write, tmp_path):
    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "it-ran"),)

    assert "it was not run" in refused(write(config=Bomb()))
    assert not (tmp_path / "it-ran").exists()


def test_a_checkpoint_is_not_a_map(release, tmp_path):
    path = tmp_path / "checkpoint.pt"
    torch.save({"model_state_dict": load_checkpoint(release.checkpoint_files()[0]).state}, path)
    for file in (path, release.checkpoint_files()[0]):
        assert refused(file).endswith(f"expected a map of format {FORMAT}, found another file")


@pytest.mark.parametrize("contents", [[1, 2], 3, {"format": "epsvae-checkpoint-1"}])
def test_other_contents(tmp_path, contents):
    torch.save(contents, tmp_path / "map.pt")
    assert "found another file" in refused(tmp_path / "map.pt")


def test_a_map_of_an_older_version_is_told_so(tmp_path):
    torch.save({"format": "epsvae-map-1"}, tmp_path / "map.pt")
    assert "found epsvae-map-1, of another version: fit" in refused(tmp_path / "map.pt")


@pytest.mark.parametrize("name", ["kind", "config", "state"])
def test_missing_parts_are_named(write, name):
    assert refused(write(**{name: None})).endswith(f"expected a whole map, missing {name}")


def test_unknown_kinds(write):
    message = refused(write(kind="OldVAE"))
    assert message.endswith("expected an EpsilonVAE or a SeedVAE, found 'OldVAE'")


@pytest.mark.parametrize(
    "config", [{"depth": 3}, {"n_probes": "many"}, {"architecture": {"speed": 1}}, 7]
)
def test_configurations_that_do_not_fit(write, default, config):
    config = asdict(default.config) | config if isinstance(config, dict) else config
    assert "expected a whole EpsilonVAE, found" in refused(write(config=config))


@pytest.mark.parametrize("damage", ["missing", "extra", "shape", "no state"])
def test_states_that_do_not_fit(write, default, damage):
    state = dict(default.state_dict())
    if damage == "missing":
        del state["sweep.probes"]
    elif damage == "extra":
        state["sweep.speed"] = torch.ones(2)
    elif damage == "shape":
        state["sweep.probes"] = torch.ones(3, 9)
    message = refused(write(state=7 if damage == "no state" else state))
    assert "expected a whole EpsilonVAE, found" in message
    if damage in ("missing", "shape"):
        assert "sweep.probes" in message


def test_a_map_with_nan_is_refused(write, default):
    state = dict(default.state_dict())
    state["geometry.bias"] = torch.full_like(state["geometry.bias"], torch.nan)
    assert refused(write(state=state)).endswith("expected numbers, found NaN in geometry.bias")


def test_a_full_disk_leaves_the_old_map(default, tmp_path, full_disk):
    path = tmp_path / "map.pt"
    save_map(default, path)
    before = path.read_bytes()
    with full_disk(), pytest.raises(CheckpointError) as caught:
        save_map(default, path)
    assert str(caught.value).startswith(f"{path}: cannot be written: ")
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
