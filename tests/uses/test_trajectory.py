"""Paths through z: laws of length, angle and pace, and runs side by side."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import spearmanr

from epsvae.errors import EpsvaeError
from epsvae.uses.trajectory import Trajectory, over_window, trajectories, window_starts
from research.uses.dynamics import rank_correlation


def path(z, epochs=None, run="r") -> Trajectory:
    z = np.asarray(z, dtype=float)
    return Trajectory(np.arange(1.0, len(z) + 1) if epochs is None else np.asarray(epochs), z, run)


@pytest.fixture
def wild():
    """A run of nine checkpoints in five dimensions, unevenly spaced."""
    rng = np.random.default_rng(0)
    return path(rng.normal(size=(9, 5)).cumsum(0), np.cumsum(rng.uniform(0.5, 2, 9)))


def test_a_square(square=((0, 0), (1, 0), (1, 1), (0, 1), (0, 0))):
    run = path(square, epochs=[0.0, 2.0, 4.0, 6.0, 8.0])
    assert run.length == 4
    assert run.direction.tolist() == [0, 0]
    assert run.straightness == 0
    np.testing.assert_allclose(run.speeds, 0.5)
    np.testing.assert_allclose(run.turning_angles, np.pi / 2)
    np.testing.assert_allclose(run.curvatures, np.pi / 2)
    np.testing.assert_allclose(run.paces(4.0)[2:], np.sqrt(2) / 4)
    assert np.isnan(run.paces(4.0)[:2]).all()
    assert run.smoothness == pytest.approx(0.5)


def test_a_straight_line_and_back():
    line = path(np.outer([0, 1, 3, 7], [1.0, 2.0]))
    assert line.straightness == pytest.approx(1)
    np.testing.assert_allclose(line.turning_angles, 0, atol=1e-7)
    np.testing.assert_allclose(path([[0.0], [1.0], [0.0]]).turning_angles, np.pi)
    assert path(np.outer(np.arange(5.0), [1.0, 0.0])).smoothness == pytest.approx(1)


def test_laws(wild):
    """Nothing changes under rotations and shifts; the length is at least the way as it flies."""
    rng = np.random.default_rng(1)
    turn, _ = np.linalg.qr(rng.normal(size=(5, 5)))
    moved = Trajectory(wild.epochs + 3, wild.z @ turn + 1)
    for name in ("length", "straightness", "turning_angles", "curvatures", "speeds", "smoothness"):
        np.testing.assert_allclose(getattr(moved, name), getattr(wild, name), atol=1e-9)
    assert wild.length >= np.linalg.norm(wild.direction)
    assert 0 <= wild.straightness <= 1
    np.testing.assert_allclose(Trajectory(wild.epochs, 3 * wild.z).length, 3 * wild.length)


def test_a_finer_path_is_as_fast():
    """Twice the checkpoints on the same curve: pace and direction stay."""
    fine = np.linspace(0, 12, 25)
    curve = np.column_stack([fine, 0.1 * fine**2])
    coarse = path(curve[::2], fine[::2])
    np.testing.assert_allclose(path(curve, fine).paces(4.0)[::2], coarse.paces(4.0))


def test_windows():
    epochs = np.array([2.0, 4.0, 6.0, 9.0])
    starts, known = window_starts(epochs, 4.0)
    assert starts[known].tolist() == [0, 1]
    assert known.tolist() == [False, False, True, True]
    assert over_window(epochs, epochs, 4.0)[2:].tolist() == [1, 1]
    noisy = np.array([0.1 * k for k in range(1, 8)])  # 0.1 * 3 is not 0.3
    assert window_starts(noisy, 0.2)[1].tolist() == [False, False, *[True] * 5]


def test_until(wild):
    part = wild.until(wild.epochs[3])
    assert len(part) == 4
    assert part.run == wild.run
    with pytest.raises(EpsvaeError, match="expected checkpoints with an epoch each"):
        wild.until(wild.epochs[0] - 1)


def test_tables_become_paths():
    table = pd.DataFrame({"run": ["b", "a", "b"], "epoch": [2.0, 1.0, 1.0], "z0": [1.0, 2, 3]})
    table["z1"] = 0.0
    found = trajectories(table)
    assert [run.run for run in found] == ["b", "a"]
    assert found[0].z.tolist() == [[3, 0], [1, 0]]
    assert trajectories(table[:0]) == []


def test_rank_correlation():
    rng = np.random.default_rng(0)
    runs, a = np.repeat(list("abcdef"), 8), rng.normal(size=48)
    b = a + 0.3 * rng.normal(size=48)
    value, low, high = rank_correlation(a, b, runs)
    assert value == pytest.approx(spearmanr(a, b).statistic)
    assert low < value < high
    assert rank_correlation(a, np.exp(a), runs) == pytest.approx((1, 1, 1))
    value, low, high = rank_correlation(a, b, ["one"] * 48)
    assert np.isfinite(value)
    assert np.isnan([low, high]).all()
    assert np.isnan(rank_correlation(a, np.ones(48), runs)).all()
