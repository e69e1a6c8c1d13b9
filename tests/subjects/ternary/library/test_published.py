"""Real networks in files of the original project: what they do survives the way through disk."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from epsvae.errors import CheckpointError
from epsvae.subjects.ternary import (
    PUBLISHED,
    Architecture,
    Metrics,
    TernaryVAE,
    evaluate,
    operation_trits,
)
from epsvae.subjects.ternary.library.files import load_checkpoint, save_checkpoint
from epsvae.subjects.ternary.library.layout import extract_key_weights
from epsvae.torch_files import STATE_KEYS, find_state, number

pytestmark = pytest.mark.numbers

CHECKPOINTS = Path(__file__).resolve().parents[4] / "data" / "reference" / "checkpoints"


@pytest.fixture(scope="module")
def reference():
    """A checkpoint of the reference release, from the middle of its run."""
    return load_checkpoint(sorted(CHECKPOINTS.glob("*/*.safetensors"))[5])


def published(checkpoint):
    """Contents as the original project saves them."""
    metrics = checkpoint.metrics
    return {
        "epoch": 10,
        "metrics": {
            "coverage": metrics.coverage,
            "distance_corr_A": metrics.distance_correlation,
            "radial_corr_A": metrics.radial_hierarchy,
            "distance_corr_B": 0.0,
            "radial_corr_B": 0.0,
        },
        "config": {"projection": {"max_radius": checkpoint.max_radius}},
        "optimizer_state_dict": {"state": {}, "param_groups": [{"lr": 1e-3}]},
    }


def test_the_release_carries_whole_published_networks(reference):
    assert reference.architecture == PUBLISHED
    assert extract_key_weights(reference).shape == (95_808,)
    found = evaluate(reference.state, reference.architecture, reference.max_radius)
    for name, value in asdict(reference.metrics).items():
        assert getattr(found, name) == pytest.approx(value, abs=1e-4)


@pytest.mark.parametrize("key", STATE_KEYS)
def test_a_published_file_gives_the_same_checkpoint(tmp_path, reference, key):
    path = tmp_path / "latest.pt"
    torch.save(published(reference) | {key: reference.state}, path)
    found = load_checkpoint(path)
    assert found.epoch == 10
    assert (found.metrics, found.max_radius) == (reference.metrics, reference.max_radius)
    assert found.architecture == PUBLISHED
    assert torch.equal(extract_key_weights(found, "all"), extract_key_weights(reference, "all"))


def test_a_published_file_becomes_one_of_ours_and_back(tmp_path, reference):
    torch.save(published(reference) | {"model": reference.state}, tmp_path / "a.pt")
    save_checkpoint(tmp_path / "b.safetensors", load_checkpoint(tmp_path / "a.pt"))
    torch.save({"model": load_checkpoint(tmp_path / "b.safetensors").state}, tmp_path / "c.pt")
    assert torch.equal(
        extract_key_weights(load_checkpoint(tmp_path / "c.pt")), extract_key_weights(reference)
    )


@pytest.mark.parametrize(
    ("architecture", "n_weights"),
    [
        (Architecture(shared_projection=True), 93_216),
        (Architecture(projection_dropout=True), 95_808),
        (Architecture(projection_layers=2), 106_048),
        (Architecture(projection_hidden=128), 100_992),
    ],
    ids=["shared", "dropout", "deep", "wide"],
)
def test_published_variants_run_as_they_were_saved(tmp_path, architecture, n_weights):
    """The accident of the original: a mismatch that loads, and runs on layers left at random."""
    module = TernaryVAE(architecture, generator=torch.Generator().manual_seed(7))
    path = tmp_path / "variant.pt"
    torch.save({"model_state_dict": module.state_dict(), "epoch": 3}, path)
    found = load_checkpoint(path)
    assert found.architecture == architecture
    assert extract_key_weights(found).shape == (n_weights,)
    again = TernaryVAE(architecture, generator=torch.Generator().manual_seed(8))
    again.load_state_dict(found.state)
    trits = operation_trits(torch.arange(50))
    assert all(torch.equal(a, b) for a, b in zip(module(trits), again(trits), strict=True))


@pytest.mark.parametrize("missing", ["coverage", "distance_corr_A", "radial_corr_A"])
def test_a_missing_metric_is_unknown_and_never_zero(tmp_path, reference, missing):
    contents = published(reference) | {"model": reference.state}
    del contents["metrics"][missing]
    torch.save(contents, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").metrics is None


def test_our_names_of_metrics_are_read_too(tmp_path, reference):
    metrics = asdict(Metrics(0.5, 0.25, -0.75))
    torch.save({"model": reference.state, "metrics": metrics}, tmp_path / "a.pt")
    assert load_checkpoint(tmp_path / "a.pt").metrics == Metrics(0.5, 0.25, -0.75)


@pytest.mark.parametrize("value", [None, True, "0.5", float("nan"), 1.01, torch.ones(2), 1j])
def test_what_is_no_number_in_its_range(value):
    with pytest.raises(CheckpointError, match=r"expected coverage in \[0, 1\], found "):
        number("coverage", value, 0.0, 1.0)


@pytest.mark.parametrize("value", [0, 1, 0.5, torch.tensor(0.5), torch.tensor([1.0])])
def test_numbers_of_many_kinds(value):
    assert number("coverage", value, 0.0, 1.0) == float(value)


def test_a_state_under_a_key_is_found_beside_anything(reference):
    contents = {"model": reference.state, "state_dict": None, "optimizer": {"state": {}}}
    assert find_state(contents).keys() == reference.state.keys()
