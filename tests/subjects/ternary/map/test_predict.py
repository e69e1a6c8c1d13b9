"""Predicting files: what can be read is predicted, the rest refused with its reason."""

from dataclasses import astuple, replace

import numpy as np
import pytest
import torch

from epsvae.checkpoints import checkpoint_files
from epsvae.errors import CheckpointError
from epsvae.map.predict import predict_files
from epsvae.subjects.ternary import METRIC_NAMES, Architecture, Metrics, TernaryVAE
from epsvae.subjects.ternary.library.files import load_checkpoint, save_checkpoint
from epsvae.subjects.ternary.library.layout import extract_key_weights
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE

pytestmark = pytest.mark.numbers


@pytest.fixture(scope="module")
def model(release):
    return release.map("aligned")


@pytest.fixture(scope="module")
def seed_model():
    """The seed's design, narrower and untrained."""
    torch.manual_seed(0)
    return SeedVAE(SeedConfig(hidden=(8, 8))).eval().requires_grad_(False)


@pytest.fixture
def shared_projection(tmp_path):
    """A published file of another architecture."""
    module = TernaryVAE(Architecture(shared_projection=True))
    torch.save({"model": module.state_dict()}, tmp_path / "shared.pt")
    return tmp_path / "shared.pt"


def test_a_table_with_a_row_a_file(model, release):
    files = release.checkpoint_files()[:3]
    outcome = predict_files(TernaryMap(model), files)
    assert list(outcome.table.columns) == ["file", *METRIC_NAMES]
    assert list(outcome.table["file"]) == [str(file) for file in files]
    assert outcome.refused == []
    for file, row in zip(files, outcome.table[list(METRIC_NAMES)].to_numpy(), strict=True):
        weights = extract_key_weights(load_checkpoint(file), "all")
        np.testing.assert_allclose(row, model.predict_metrics(model.encode(weights)), atol=1e-6)


def test_predictions_are_close_to_what_the_files_say(model, release):
    """Runs that the map never saw; much looser than its tested errors, far tighter than a guess."""
    files = release.checkpoint_files()
    predicted = predict_files(TernaryMap(model), files).table[list(METRIC_NAMES)].to_numpy()
    true = np.array([astuple(load_checkpoint(file).metrics) for file in files])
    assert np.abs(predicted - true).mean(0).max() < 0.1


def test_predictions_do_not_read_the_stored_metrics(model, release, tmp_path):
    checkpoint = load_checkpoint(release.checkpoint_files()[0])
    liar = tmp_path / "liar.safetensors"
    save_checkpoint(liar, replace(checkpoint, metrics=Metrics(0.0, 0.0, 0.0)))
    assert Metrics(*TernaryMap(model).look(load_checkpoint(liar)).metrics.tolist()) == Metrics(
        *TernaryMap(model).look(checkpoint).metrics.tolist()
    )


def test_a_seed_map_predicts_files_too(seed_model, release):
    outcome = predict_files(TernaryMap(seed_model), release.checkpoint_files()[:2])
    assert np.isfinite(outcome.table[list(METRIC_NAMES)].to_numpy()).all()


def test_bad_files_are_refused_and_do_not_stop_the_others(model, release, tmp_path):
    good, bad = release.checkpoint_files()[0], tmp_path / "bad.pt"
    bad.write_bytes(good.read_bytes()[:1000])
    outcome = predict_files(TernaryMap(model), [tmp_path / "missing.pt", good, bad])
    assert list(outcome.table["file"]) == [str(good)]
    assert len(outcome.refused) == 2
    for reason, path in zip(outcome.refused, (tmp_path / "missing.pt", bad), strict=True):
        assert reason.startswith(f"{path}: expected a checkpoint")


def test_the_seed_map_refuses_other_architectures_by_path(seed_model, shared_projection, release):
    good = release.checkpoint_files()[0]
    outcome = predict_files(TernaryMap(seed_model), [shared_projection, good])
    assert list(outcome.table["file"]) == [str(good)]
    (reason,) = outcome.refused
    assert reason.startswith(f"{shared_projection}: expected ")
    with pytest.raises(CheckpointError, match="shared.pt: expected .* found"):
        Metrics(*TernaryMap(seed_model).look(load_checkpoint(shared_projection)).metrics.tolist())


def test_the_default_map_reads_other_architectures(model, shared_projection):
    outcome = predict_files(TernaryMap(model), [shared_projection])
    assert outcome.refused == []
    assert np.isfinite(outcome.table[list(METRIC_NAMES)].to_numpy()).all()


def test_a_folder_of_hidden_files_holds_none(tmp_path):
    (tmp_path / ".half.safetensors").touch()
    with pytest.raises(CheckpointError, match="found none"):
        checkpoint_files(tmp_path)
