"""Forecasts of final metrics: they learn, keep their intervals' promise, and refuse clearly."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary.map.calibration import FILE, load_calibration
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.subjects.ternary.map.release import open_release
from research.uses import outcome, recipe_trees
from research.uses.outcome import fit_quality_forecaster, forecast_folder
from research.uses.quality import QUALITY, Course, final_metrics, quality, release_courses

REFERENCE = Path(__file__).resolve().parents[3] / "data" / "reference"


@pytest.fixture(autouse=True)
def few_trees(monkeypatch):
    monkeypatch.setattr(outcome, "TREES", 20)
    monkeypatch.setattr(recipe_trees, "TREES", 20)


def make(n, seed=0, recipe=False):
    """Runs whose coverage ends 0.3 above or below the first value, by the sign of their speed."""
    rng = np.random.default_rng(seed)
    courses, finals = [], []
    for i in range(n):
        kind = rng.choice([-1, 1])
        shares = np.arange(1, 6) / 5
        coverage = 0.5 + 0.3 * kind * (shares - 0.2) / 0.8
        noise = rng.normal(0, 0.01, 5)
        metrics = np.column_stack([coverage + noise, 0.6 + noise, -0.5 + noise])
        known = np.array([float(kind)]) if recipe else np.zeros(0)
        courses.append(Course(f"run-{i}", shares, metrics, np.zeros((5, 0)), known))
        finals.append(metrics[-1])
    return courses, np.array(finals)


def test_two_checkpoints_tell_where_it_goes():
    courses, finals = make(40)
    new, truth = make(20, seed=1)
    forecaster = fit_quality_forecaster(courses, finals)
    errors = {n: np.abs(forecaster([c.first(n) for c in new]) - truth)[:, 0] for n in (1, 2, 5)}
    assert errors[1].mean() > 0.2
    assert errors[2].mean() < 0.05
    assert errors[5].mean() < 0.03


def test_a_recipe_tells_it_from_the_start():
    courses, finals = make(40, recipe=True)
    new, truth = make(20, seed=1, recipe=True)
    forecaster = fit_quality_forecaster(courses, finals)
    early = [c.first(1) for c in new]
    assert np.abs(forecaster(early) - truth)[:, 0].mean() < 0.05
    alone = forecaster.prior.predict(recipe_trees.recipes_of(new))
    assert np.abs(alone - truth)[:, 0].mean() < 0.05


def test_intervals_of_runs_left_out():
    courses, finals = make(40)
    new, truth = make(60, seed=1)
    forecaster = fit_quality_forecaster(courses, finals, folds=4)
    widths = [forecaster.half_width(share, QUALITY) for share in (0.2, 0.4, 1.0)]
    assert widths[0] > 2 * widths[1] >= widths[2] > 0
    held = np.abs(quality(forecaster([c.first(2) for c in new]) - truth)) <= widths[1]
    assert held.mean() > 0.8
    assert forecaster.half_width(0.2, (1, 0, 0)) > forecaster.half_width(0.2, (0, 1, 0))


def test_without_enough_runs_an_interval_is_infinite():
    courses, finals = make(5)
    assert fit_quality_forecaster(courses, finals).half_width(0.5, QUALITY) == np.inf
    assert fit_quality_forecaster(courses, finals, folds=4).half_width(0.5, QUALITY) == np.inf
    single = fit_quality_forecaster(courses[:1], finals[:1], folds=4)
    assert single.half_width(0.5, QUALITY) == np.inf
    assert single(courses[:1]) == pytest.approx(finals[:1], abs=1)


def test_ranges_constants_and_nothing():
    courses, finals = make(10)
    forecaster = fit_quality_forecaster(courses, finals)
    high = Course("x", np.array([1.0]), np.array([[1.0, 1.0, -1.0]]), np.zeros((1, 0)), np.zeros(0))
    assert (np.abs(forecaster([high])) <= 1).all()
    assert forecaster([]).shape == (0, 3)
    same = [c for c in courses for _ in range(1)]
    flat = fit_quality_forecaster(same, np.tile(finals[0], (10, 1)))
    assert flat([c.first(5) for c in courses]).shape == (10, 3)


def test_refusals():
    courses, finals = make(6)
    with pytest.raises(EpsvaeError, match="expected finished runs with finite final metrics"):
        fit_quality_forecaster([], finals[:0])
    unknown = finals.copy()
    unknown[2] = np.nan
    with pytest.raises(EpsvaeError, match="5 finite rows of 6"):
        fit_quality_forecaster(courses, unknown)
    with pytest.raises(EpsvaeError, match="folds: expected 0, or at least 2, found 1"):
        fit_quality_forecaster(courses, finals, folds=1)
    with pytest.raises(EpsvaeError, match="courses: expected 7 features a checkpoint.*found 8"):
        fit_quality_forecaster(courses, finals)(make(2, recipe=True)[0])
    with pytest.raises(EpsvaeError, match="expected a recipe of each run"):
        recipe_trees.recipes_of(courses)


def test_a_folder_of_files(tmp_path):
    """Real files, read from disk, get the forecast that their rows in the release get."""
    release = open_release(REFERENCE)
    model = release.map("aligned")
    calibration = load_calibration(release.folder / "aligned" / FILE)
    known = release_courses(release, "aligned", "train", measured=False, recipe=False)
    finals = final_metrics(release.rows("aligned", "train"))
    forecaster = fit_quality_forecaster(known, finals)
    files = release.checkpoint_files("aligned-057")[:3]
    (tmp_path / "mine").mkdir()
    for file in files:
        shutil.copyfile(file, tmp_path / "mine" / file.name)
    table = forecast_folder(tmp_path, TernaryMap(model, calibration), forecaster, 22)
    assert table["run"].tolist() == ["mine"]
    assert table["epoch"].tolist() == [6]
    test = release_courses(release, "aligned", "test", measured=False, recipe=False)
    same = next(c for c in test if c.run == "aligned-057").first(3)
    expected = forecaster([same])[0]
    columns = ["final_coverage", "final_distance_correlation", "final_radial_hierarchy"]
    assert table.loc[0, columns].to_numpy(dtype=float) == pytest.approx(expected, abs=0.02)
    assert table.loc[0, "quality"] == pytest.approx(quality(expected), abs=0.02)
    with pytest.raises(EpsvaeError, match="expected shares of the plan"):
        forecast_folder(tmp_path, TernaryMap(model), forecaster, 4)
    with pytest.raises(EpsvaeError, match="expected a folder"):
        forecast_folder(tmp_path / "nowhere", TernaryMap(model), forecaster, 22)
