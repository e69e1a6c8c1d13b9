import numpy as np
import pandas as pd
import pytest

from epsvae.errors import EpsvaeError
from research.uses import barrier, barriers, interval_over_pairs, over_pairs

ENDS = np.array([[1.0, 0.6, -0.4], [0.0, 0.8, -0.8]])


def paths():
    """Two ways from one end to the other: a straight one and one with a dip of coverage."""
    rows = []
    for way, dip in (("linear", 0.3), ("decoded", 0.0)):
        for share in (0.0, 0.25, 1.0):
            metrics = (1 - share) * ENDS[0] + share * ENDS[1]
            metrics[0] -= dip * (share == 0.25)
            rows.append(("small", "a", "b", way, share, *metrics))
    names = ["coverage", "distance_correlation", "radial_hierarchy"]
    return pd.DataFrame(rows, columns=["library", "run_a", "run_b", "way", "share", *names])


def test_a_barrier_is_measured_from_the_line():
    shares = np.array([0.0, 0.5, 1.0])
    values = np.array([[1.0, 0.6, -0.4], [0.1, 0.75, -0.5], [0.0, 0.8, -0.8]])
    assert barrier(values, shares, ENDS) == pytest.approx([0.4, 0.0, 0.1])
    assert barrier(ENDS, np.array([0.0, 1.0]), ENDS) == pytest.approx([0, 0, 0])


def test_every_path_and_way_has_its_barrier():
    found = barriers(paths()).set_index("way")
    assert found.loc["linear", "coverage"] == pytest.approx(0.3)
    assert found.loc["linear", "where"] == 0.25
    assert found.loc["decoded", "coverage"] == pytest.approx(0, abs=1e-12)
    assert found.loc["linear", "radial_hierarchy"] == pytest.approx(0, abs=1e-12)


def test_a_path_needs_its_ends():
    cut = paths().query("share < 1")
    with pytest.raises(EpsvaeError, match="expected 'linear' rows at shares 0 and 1"):
        barriers(cut)
    assert barriers(cut.iloc[:0]).empty


def test_intervals_over_pairs_resample_both_groups():
    rng = np.random.default_rng(0)
    rows = np.repeat(rng.normal(size=(6, 1)), 50, axis=1)
    value, low, high = interval_over_pairs(rows)
    assert low < value < high
    assert high - low > 0.5  # six runs, however many pairs
    assert interval_over_pairs(np.full((3, 4), 0.2)) == pytest.approx((0.2, 0.2, 0.2))
    assert np.isnan(interval_over_pairs(np.ones((1, 4)))[1])


def test_over_pairs_reads_a_frame():
    frame = pd.DataFrame({"run_a": list("aabb"), "run_b": list("cdcd"), "x": [1.0, 2.0, 3.0, 4.0]})
    value, low, high = over_pairs(frame, "x")
    assert value == 2.5
    assert low < 2.5 < high
