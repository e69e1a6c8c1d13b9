"""Checkpoints on disk: what is written comes back, and what is wrong is refused by name."""

import argparse
import json
import os
import pickle
from collections import OrderedDict
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from epsvae.errors import CheckpointError
from epsvae.subjects.ternary import Architecture, Metrics, TernaryVAE
from epsvae.subjects.ternary.library.files import load_checkpoint, save_checkpoint, sha256_of

METRICS = {"coverage": 1.0, "distance_corr_A": 0.5, "radial_corr_A": -0.25}


@pytest.fixture
def save_torch(tmp_path):
    """(contents, name) -> path of a file saved by torch.save."""

    def save(contents, name="published.pt", **options):
        torch.save(contents, tmp_path / name, **options)
        return tmp_path / name

    return save


def assert_same_state(found, expected):
    assert list(found) == list(expected)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_save_and_load(tmp_path, checkpoint):
    path = tmp_path / "deep" / "a.safetensors"
    save_checkpoint(path, checkpoint)
    found = load_checkpoint(path)
    assert_same_state(found.state, checkpoint.state)
    assert found.path == path
    for name in ("architecture", "max_radius", "metrics", "epoch", "run", "provenance"):
        assert getattr(found, name) == getattr(checkpoint, name)


def test_the_same_checkpoint_gives_the_same_bytes(tmp_path, checkpoint):
    for i in range(5):
        save_checkpoint(tmp_path / f"{i}.safetensors", checkpoint)
    assert len({sha256_of(path) for path in tmp_path.iterdir()}) == 1


def test_unknown_facts_stay_unknown(tmp_path, checkpoint):
    unknown = replace(checkpoint, metrics=None, epoch=None, run=None, provenance={})
    save_checkpoint(tmp_path / "a.safetensors", unknown)
    found = load_checkpoint(tmp_path / "a.safetensors")
    assert (found.metrics, found.epoch, found.run, found.provenance) == (None, None, None, {})


@pytest.mark.parametrize("key", ["model_state_dict", "model_state", "state_dict", "model"])
def test_published_keys(save_torch, checkpoint, key):
    path = save_torch({key: OrderedDict(checkpoint.state), "epoch": 3, "metrics": METRICS})
    found = load_checkpoint(path)
    assert_same_state(found.state, checkpoint.state)
    assert found.architecture == checkpoint.architecture
    assert found.metrics == Metrics(1.0, 0.5, -0.25)
    assert found.epoch == 3.0
    assert (found.max_radius, found.provenance) == (0.95, {"max_radius": "assumed"})


@pytest.mark.parametrize("options", [{}, {"_use_new_zipfile_serialization": False}])
def test_state_dict_at_the_top(save_torch, checkpoint, options):
    found = load_checkpoint(save_torch(checkpoint.state, **options))
    assert_same_state(found.state, checkpoint.state)
    assert (found.metrics, found.epoch) == (None, None)


def test_published_module_and_parameters_with_gradients(save_torch):
    architecture = Architecture(projection_hidden=128)
    module = TernaryVAE(architecture)
    found = load_checkpoint(save_torch({"model": dict(module.named_parameters())}))
    assert found.architecture == architecture
    assert not any(tensor.requires_grad for tensor in found.state.values())


def test_numpy_metrics_and_parsed_arguments(save_torch, checkpoint):
    contents = {
        "model_state": checkpoint.state,
        "metrics": {n: np.float64(v) for n, v in METRICS.items()} | {"coverage": np.float32(1)},
        "epoch": np.int64(4),
        "args": argparse.Namespace(max_radius=0.8),
    }
    found = load_checkpoint(save_torch(contents))
    assert found.metrics == Metrics(1.0, 0.5, -0.25)
    assert (found.epoch, found.max_radius, found.provenance) == (4.0, 0.8, {})


@pytest.mark.parametrize("key", ["config", "args", "hyper_parameters"])
def test_max_radius_in_the_settings(save_torch, checkpoint, key):
    path = save_torch({"model": checkpoint.state, key: {"model": {"max_radius": 0.9}}})
    assert load_checkpoint(path).max_radius == 0.9


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod."])
def test_wrapper_prefix(save_torch, checkpoint, prefix):
    state = {prefix + name: tensor for name, tensor in checkpoint.state.items()}
    assert_same_state(load_checkpoint(save_torch({"model": state})).state, checkpoint.state)
    first = next(iter(checkpoint.state))
    state[first] = state.pop(prefix + first)
    with pytest.raises(CheckpointError, match="expected the parameters of a TernaryVAE"):
        load_checkpoint(save_torch({"model": state}))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_float_types(save_torch, checkpoint, dtype):
    state = {name: tensor.to(dtype) for name, tensor in checkpoint.state.items()}
    found = load_checkpoint(save_torch({"model": state})).state
    assert_same_state(found, {name: tensor.float() for name, tensor in state.items()})


def test_partial_metrics_are_unknown(save_torch, checkpoint):
    path = save_torch({"model": checkpoint.state, "metrics": {"coverage": 1.0, "loss": 3.0}})
    assert load_checkpoint(path).metrics is None


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"metrics": METRICS | {"coverage": float("nan")}}, "metric coverage in .* found nan"),
        ({"metrics": METRICS | {"coverage": 98.5}}, r"metric coverage in \[0, 1\], found 98.5"),
        ({"metrics": METRICS | {"distance_corr_A": -1.5}}, "metric distance_corr_A"),
        ({"metrics": METRICS | {"radial_corr_A": "high"}}, "metric radial_corr_A .* found 'high'"),
        ({"epoch": -1}, "epoch in .* found -1"),
        ({"epoch": "last"}, "epoch in .* found 'last'"),
        ({"config": {"max_radius": 2.0}}, "max_radius in .* found 2.0"),
        ({"config": {"max_radius": 0.9}, "args": {"max_radius": 0.8}}, "one max_radius"),
    ],
)
def test_unreadable_facts(save_torch, checkpoint, facts, message):
    path = save_torch({"model": checkpoint.state} | facts)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def without(state, name):
    return {n: t for n, t in state.items() if n != name}


MU = "encoder_A.fc_mu.weight"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: without(s, "encoder_B.fc_mu.bias"), "missing encoder_B.fc_mu.bias"),
        (lambda s: s | {"controller.net.0.weight": torch.ones(2)}, "found controller.net.0"),
        (lambda s: s | {"decoder_B.decoder.0.weight": torch.ones(2, 2)}, "found decoder_B"),
        (lambda s: s | {"encoder_B.fc_mu.bias": torch.ones(7)}, r"fc_mu.bias \(4,\), found \(7,\)"),
        (lambda s: s | {MU: s[MU] * float("nan")}, f"NaN or infinity in {MU}"),
        (lambda s: s | {MU: s[MU].double() * 1e300}, f"NaN or infinity in {MU}"),
        (lambda s: s | {MU: s[MU].int()}, f"{MU} as dense floats, found torch.int32"),
        (lambda s: s | {MU: s[MU].to_sparse()}, f"{MU} as dense floats"),
        (lambda s: s | {MU: 3}, f"found {MU}: int"),
        (lambda s: {}, "found an empty mapping"),
        (lambda s: {"layer1.0.conv1.weight": torch.ones(2, 2, 3, 3)}, "found layer1.0.conv1"),
        (
            lambda s: s | {"decoder_A.decoder.2.weight": torch.ones(1).expand(10**5, 10**5)},
            "expected",
        ),
    ],
)
def test_states_that_do_not_fit(save_torch, checkpoint, change, message):
    path = save_torch({"model_state_dict": change(checkpoint.state)})
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def test_claimed_sizes_are_not_allocated(save_torch):
    wide = Architecture(encoder_widths=(10**6, 10**6)).shapes()
    state = {name: torch.ones(1).expand(shape) for name, shape in wide.items()}
    with pytest.raises(CheckpointError, match="at most 10000000 parameters"):
        load_checkpoint(save_torch({"model": state}))


@pytest.mark.parametrize("contents", [[1, 2], {"epoch": 3}, {"model": {"epoch": 3}}, {}])
def test_no_state_dict(save_torch, contents):
    with pytest.raises(CheckpointError, match="expected a (mapping|state dict)"):
        load_checkpoint(save_torch(contents))


def test_two_state_dicts(save_torch, checkpoint):
    path = save_torch({"model": checkpoint.state, "state_dict": checkpoint.state})
    with pytest.raises(CheckpointError, match="one state dict, found state_dict, model"):
        load_checkpoint(path)


PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".safetensors"])
@pytest.mark.parametrize("contents", [b"", b"not a checkpoint\n" * 20, PNG, b"\xff" * 64, b"{}"])
def test_files_that_are_no_checkpoints(tmp_path, suffix, contents):
    path = tmp_path / f"file{suffix}"
    path.write_bytes(contents)
    with pytest.raises(CheckpointError, match="expected a .*found") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def test_missing_file_folder_and_suffix(tmp_path):
    with pytest.raises(
        CheckpointError, match="missing.pt: expected a checkpoint file, found nothing"
    ):
        load_checkpoint(tmp_path / "missing.pt")
    with pytest.raises(CheckpointError, match="found a folder"):
        load_checkpoint(tmp_path)
    (tmp_path / "a.txt").write_text("text")
    with pytest.raises(CheckpointError, match="expected one of .safetensors.*found '.txt'"):
        load_checkpoint(tmp_path / "a.txt")


@pytest.mark.parametrize("share", [0.01, 0.5, 0.99])
@pytest.mark.parametrize("name", ["zip.pt", "legacy.pt", "own.safetensors"])
def test_truncated_files(tmp_path, checkpoint, save_torch, name, share):
    path = tmp_path / name
    if name.endswith(".pt"):
        save_torch({"model": checkpoint.state}, name, _use_new_zipfile_serialization=name[0] == "z")
    else:
        save_checkpoint(path, checkpoint)
    contents = path.read_bytes()
    path.write_bytes(contents[: int(share * len(contents))])
    with pytest.raises(CheckpointError, match="expected a .*found"):
        load_checkpoint(path)


def test_header_of_the_wrong_size(tmp_path, checkpoint):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint)
    path.write_bytes((2**40).to_bytes(8, "little") + path.read_bytes()[8:])
    with pytest.raises(CheckpointError, match="header too large"):
        load_checkpoint(path)


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_code_in_a_pickle_is_not_run(tmp_path, checkpoint, save_torch):
    marker = tmp_path / "it-ran"
    path = save_torch({"model_state_dict": checkpoint.state, "epoch": Bomb(marker)})
    with pytest.raises(CheckpointError, match=r"calls other code \(posix.mkdir\); it was not run"):
        load_checkpoint(path)
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        path.write_bytes(pickle.dumps(Bomb(marker), protocol))
        with pytest.raises(CheckpointError, match="not run|nothing was run"):
            load_checkpoint(path)
    assert not marker.exists()
    pickle.loads(path.read_bytes())
    assert marker.exists()  # the bomb itself works


def test_metadata_that_is_not_ours(tmp_path, checkpoint):
    path = tmp_path / "a.safetensors"
    save_file(checkpoint.state, path, {"epoch": "not json", "metrics": "none"})
    assert load_checkpoint(path).epoch is None
    ours = {"format": "epsvae-checkpoint-1"}
    save_file(checkpoint.state, path, ours | {"epoch": "not json"})
    with pytest.raises(CheckpointError, match="expected epoch in JSON"):
        load_checkpoint(path)
    save_file(checkpoint.state, path, ours | {"metrics": "[1, 2]"})
    with pytest.raises(CheckpointError, match="expected metrics as .*dict"):
        load_checkpoint(path)
    save_file(checkpoint.state, path, ours | {"architecture": json.dumps({"latent_dim": 3})})
    with pytest.raises(CheckpointError, match="expected a state of {'latent_dim': 3}"):
        load_checkpoint(path)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"max_radius": 1.5}, "max_radius"),
        ({"metrics": Metrics(float("nan"), 0.0, 0.0)}, "metric coverage"),
        ({"epoch": float("inf")}, "epoch"),
        ({"architecture": Architecture()}, "expected a state of"),
    ],
)
def test_bad_checkpoints_are_not_saved(tmp_path, checkpoint, fields, message):
    path = tmp_path / "a.safetensors"
    with pytest.raises(CheckpointError, match=f"cannot be written.*{message}"):
        save_checkpoint(path, replace(checkpoint, **fields))
    assert list(tmp_path.iterdir()) == []


def test_nan_weights_are_not_saved(tmp_path, checkpoint):
    bad = replace(checkpoint, state=checkpoint.state | {MU: checkpoint.state[MU] * float("inf")})
    with pytest.raises(CheckpointError, match="NaN or infinity"):
        save_checkpoint(tmp_path / "a.safetensors", bad)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_the_old_file(tmp_path, checkpoint, full_disk):
    path = tmp_path / "a.safetensors"
    save_checkpoint(path, checkpoint)
    before = sha256_of(path)
    refused = pytest.raises(CheckpointError, match="a.safetensors: cannot be written.*too large")
    with full_disk(), refused:
        save_checkpoint(path, replace(checkpoint, epoch=4.0))
    assert sha256_of(path) == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_failing_replace_leaves_nothing(tmp_path, checkpoint, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(CheckpointError, match="No space left on device"):
        save_checkpoint(tmp_path / "a.safetensors", checkpoint)
    assert list(tmp_path.iterdir()) == []
