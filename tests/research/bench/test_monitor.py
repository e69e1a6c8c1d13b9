"""The bill of watching: four lines, and shares that follow from them."""

from pathlib import Path

import pytest

from epsvae.subjects.ternary import TernaryVAE
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.map.calibration import FILE, load_calibration
from epsvae.subjects.ternary.map.release import open_release
from research.bench.monitor import COLUMNS, monitor_overhead, share_of_training


def test_overhead():
    release = open_release(Path(__file__).resolve().parents[3] / "data" / "reference")
    checkpoint = load_checkpoint(release.checkpoint_files()[0])
    network = TernaryVAE(checkpoint.architecture, checkpoint.max_radius)
    network.load_state_dict(checkpoint.state)
    calibration = load_calibration(release.folder / "aligned" / FILE)
    steps = []
    overhead = monitor_overhead(
        network, lambda: steps.append(1), release.map("aligned"), calibration, repeats=2
    )
    assert tuple(overhead) == COLUMNS
    assert len(overhead) == 4
    assert len(steps) == 3
    assert (overhead["low"] <= overhead["milliseconds"]).all()
    assert (overhead["milliseconds"] <= overhead["high"]).all()
    of_step = overhead.assign(milliseconds=[10.0, 1.0, 5.0, 40.0])
    assert share_of_training(of_step, every=100) == pytest.approx(0.005)
