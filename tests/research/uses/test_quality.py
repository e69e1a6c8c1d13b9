"""Courses: what is known of a run while it goes on, and nothing of what comes later."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.map.release import open_release
from research.uses.quality import (
    QUALITY,
    RECIPE,
    Course,
    by_step,
    courses_of,
    final_metrics,
    quality,
    release_courses,
)

REFERENCE = Path(__file__).resolve().parents[3] / "data" / "reference"


def course(shares, metrics=None, **parts):
    n = len(shares)
    metrics = np.tile([0.5, 0.5, -0.5], (n, 1)) if metrics is None else metrics
    known = {"places": np.zeros((n, 0)), "recipe": np.zeros(0)} | parts
    return Course("run", np.array(shares, dtype=float), metrics, **known)


def test_quality_goes_up_with_what_is_good():
    assert quality(np.array([1.0, 1.0, -1.0])) == pytest.approx(1)
    for axis, step in enumerate((0.1, 0.1, -0.1)):
        better = np.array([0.5, 0.5, -0.5])
        better[axis] += step
        assert quality(better) > quality(np.array([0.5, 0.5, -0.5]))
    assert quality(np.zeros((4, 2, 3))).shape == (4, 2)
    assert quality(np.array([0.3, 0.9, 0.0]), (1, 0, 0)) == pytest.approx(0.3)
    assert sum(map(abs, QUALITY)) == pytest.approx(1)


@pytest.mark.parametrize("bad", [[], [0.5, 0.5], [0.5, 0.2], [0.0, 0.5], [0.5, 1.2]])
def test_shares_that_are_no_course(bad):
    with pytest.raises(EpsvaeError, match="run 'run': expected"):
        course(bad, np.zeros((len(bad), 3)))


@pytest.mark.parametrize("part", ["metrics", "places", "recipe"])
def test_what_is_not_finite_is_refused(part):
    values = {"metrics": np.zeros((2, 3)), "places": np.zeros((2, 4)), "recipe": np.zeros(2)}
    values[part].flat[1] = np.nan
    with pytest.raises(EpsvaeError, match="expected finite numbers, found NaN"):
        course([0.5, 1.0], **values)


def test_features_know_nothing_of_later():
    rng = np.random.default_rng(0)
    whole = course(
        [0.1, 0.3, 1.0], rng.random((3, 3)), places=rng.random((3, 2)), recipe=rng.random(4)
    )
    features = whole.features()
    assert features.shape == (3, 2 * 5 + 1 + 4)
    for n in (1, 2, 3):
        np.testing.assert_array_equal(whole.first(n).features(), features[:n])
    assert not features[0, 5:10].any()
    speed = (whole.metrics[1] - whole.metrics[0]) / 0.2
    assert features[1, 5:8] == pytest.approx(speed, abs=1e-5)
    assert len(whole.first(9).shares) == 3


def test_courses_of_a_table_in_any_order():
    table = pd.DataFrame({"run": ["b", "a", "b"], "epoch": [4.0, 3.0, 2.0], "epochs": [4, 6, 4]})
    table["lr"] = [0.1, 0.2, 0.1]
    metrics = np.arange(9.0).reshape(3, 3)
    a, b = courses_of(table, metrics, None, ["lr"])
    assert (a.run, b.run) == ("a", "b")
    assert b.shares.tolist() == [0.5, 1.0]
    assert b.metrics.tolist() == metrics[[2, 0]].tolist()
    assert (a.shares.tolist(), a.recipe.tolist()) == ([0.5], [0.2])
    table[list(METRIC_NAMES)] = metrics
    assert final_metrics(table).tolist() == metrics[[1, 0]].tolist()
    assert courses_of(table.iloc[:0], metrics[:0]) == []


def test_the_runs_of_a_release():
    release = open_release(REFERENCE)
    finals = final_metrics(release.rows("aligned", "validation"))
    measured = release_courses(release, "aligned", "validation", measured=True, recipe=True)
    read = release_courses(release, "aligned", "validation", measured=False, recipe=False)
    assert [c.run for c in measured] == [c.run for c in read]
    assert len(read) == len(finals) == 7
    for truth, seen, final in zip(measured, read, finals, strict=True):
        assert truth.metrics[-1].tolist() == final.tolist()
        assert seen.metrics == pytest.approx(truth.metrics, abs=0.2)
        assert (truth.places.shape[1], len(truth.recipe)) == (0, len(RECIPE))
        assert (seen.places.shape[1], len(seen.recipe)) == (64, 0)
    steps = by_step(lambda runs: np.stack([c.metrics[-1] for c in runs]), measured, 11)
    assert steps.shape == (11, 7, 3)
    assert steps[3, 2].tolist() == measured[2].metrics[3].tolist()
