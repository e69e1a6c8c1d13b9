"""The monitor says what the map says, touches nothing, and is not stopped by a broken network."""

from pathlib import Path

import numpy as np
import pytest
import torch

from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.map.predict import predict_files
from epsvae.subjects.ternary import METRIC_NAMES, Architecture, TernaryVAE, all_operations
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.subjects.ternary.map.release import open_release
from epsvae.uses.monitor import NOT_FINITE, QualityMonitor

pytestmark = pytest.mark.numbers

RELEASE = open_release(Path(__file__).resolve().parents[4] / "data" / "reference")
FILES = RELEASE.checkpoint_files()


def network(file=FILES[3]):
    checkpoint = load_checkpoint(file)
    module = TernaryVAE(checkpoint.architecture, checkpoint.max_radius)
    module.load_state_dict(checkpoint.state)
    return module


def train(monitor, n_steps=6):
    """A loop with dropout noise from the global generator, and the parameters it ends in."""
    torch.manual_seed(0)
    module = network()
    optimiser = torch.optim.AdamW(module.parameters(), lr=1e-3)
    for step in range(n_steps):
        points, _ = module(all_operations()[torch.randint(19_683, (32,))])
        optimiser.zero_grad()
        torch.nn.functional.dropout(points).square().sum().backward()
        optimiser.step()
        monitor(module, step)
    return module


def test_it_says_what_the_files_say(model, calibration):
    monitor = QualityMonitor(TernaryMap(model, calibration))
    for file in FILES[3:6]:
        monitor(network(file), 0)
    table = monitor.table()
    expected = predict_files(TernaryMap(model, calibration), FILES[3:6]).table
    columns = ["coverage_low", "radial_hierarchy_high", *METRIC_NAMES, "off_map"]
    np.testing.assert_allclose(table[columns], expected[columns], atol=1e-5)
    assert table["flag"].tolist() == expected["flag"].tolist() == [False] * 3
    assert monitor.history[0].low["coverage"] <= monitor.history[0].predicted["coverage"]


def test_a_training_ends_in_the_same_weights(model, calibration):
    monitor = QualityMonitor(TernaryMap(model, calibration), every=2)
    watched, alone = train(monitor), train(lambda module, step: None)
    for (name, a), (_, b) in zip(watched.named_parameters(), alone.named_parameters(), strict=True):
        assert torch.equal(a, b), name
        assert torch.equal(a.grad, b.grad) if a.grad is not None else b.grad is None
    assert [report.step for report in monitor.history] == [0, 2, 4]
    assert monitor(watched, 5) is None
    assert watched.training


def test_states_and_wrappers(model):
    monitor, module = QualityMonitor(TernaryMap(model)), network()
    wrapped = torch.nn.Sequential()
    wrapped.module = module
    reports = [
        monitor(module, 0),
        QualityMonitor(TernaryMap(model, max_radius=module.max_radius))(module.state_dict(), 0),
        QualityMonitor(TernaryMap(model, max_radius=module.max_radius))(wrapped, 0),
        monitor(module.double(), 0),
    ]
    assert all(r.predicted == reports[0].predicted for r in reports)
    assert not reports[0].flag
    assert np.isnan(reports[0].off_map)
    assert np.isnan(reports[0].low["coverage"])


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_broken_weights_are_reported(model, calibration, bad):
    module = network()
    with torch.no_grad():
        module.get_parameter("encoder_A.fc_mu.bias")[0] = bad
    report = QualityMonitor(TernaryMap(model, calibration))(module, 3)
    assert report.flag
    assert report.why == NOT_FINITE
    assert np.isnan(report.predicted["coverage"])
    assert report.off_map == np.inf


def test_damage_is_flagged(model, calibration):
    module = network()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.3 * torch.randn(
                parameter.shape, generator=torch.Generator().manual_seed(0)
            )
    report = QualityMonitor(TernaryMap(model, calibration))(module, 0)
    assert report.flag
    assert report.why


def test_refusals(model):
    monitor = QualityMonitor(TernaryMap(model))
    with pytest.raises(CheckpointError, match="expected the parameters of a TernaryVAE"):
        monitor(torch.nn.Linear(3, 2), 0)
    with pytest.raises(CheckpointError, match="expected embeddings of dimension 16, found 8"):
        monitor(TernaryVAE(Architecture(latent_dim=8)), 0)
    with pytest.raises(EpsvaeError, match="every: expected a positive number"):
        QualityMonitor(TernaryMap(model), every=0)
    assert monitor.table().empty
    assert monitor.history == []
