"""The maps of digits and text that a release carries say of its checkpoints what was measured."""

import io
import sys
from pathlib import Path

import pandas as pd
import pytest

from epsvae.checkpoints import find_checkpoints, read_state
from epsvae.cli import main
from epsvae.loading import load_subject
from epsvae.map.map_file import load_map
from research.first_results import markdown

REFERENCE = Path(__file__).resolve().parents[1] / "data" / "reference"
README = (REFERENCE.parents[1] / "README.md").read_text(encoding="utf8")
SUBJECTS = ("digits", "text")
CLOSE = {
    "accuracy": 0.1,
    "nll": 0.2,
    "calibration_error": 0.1,
    "shifted_accuracy": 0.1,
    "bits": 0.15,
    "closing": 0.1,
    "copying": 0.1,
}
"""No prediction for a carried checkpoint on the map is further off: some four mean errors."""
INSIDE = 0.75
"""Share of recorded values inside their 90 % intervals: six checkpoints of two runs are few."""
FLAGGED = 1
"""Checkpoints of six that may be flagged: of text 5 of the 96 test checkpoints are."""
LARGEST_MAP = 5e6


@pytest.mark.parametrize("name", SUBJECTS)
def test_a_carried_map_is_small_and_of_64_inputs(name):
    path = REFERENCE / name / "map.safetensors"
    assert path.stat().st_size < LARGEST_MAP
    fitted = load_map(path, load_subject(name))
    assert fitted.model.config.n_probes == 64
    assert fitted.intervals.quantiles.isfinite().all()


@pytest.mark.parametrize("name", SUBJECTS)
def test_the_command_line_predicts_what_was_measured(name, monkeypatch, capsys):
    runs = REFERENCE / name / "runs"
    words = ["predict", runs, "--map", runs.with_name("map.safetensors")]
    words += ["--subject", name, "--csv"]
    monkeypatch.setattr(sys, "argv", ["epsvae", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    said = pd.read_csv(io.StringIO(capsys.readouterr().out))
    assert said["file"].tolist() == find_checkpoints(runs)["file"].tolist()
    assert len(said) == 6 and said["flag"].sum() <= FLAGGED
    true = pd.DataFrame([read_state(file).metrics for file in said["file"]])
    true, said = true[~said["flag"]], said[~said["flag"]]
    inside = [true[m].between(said[f"{m}_low"], said[f"{m}_high"]).mean() for m in true]
    assert sum(inside) / len(inside) >= INSIDE
    for metric in true:
        assert (said[metric] - true[metric]).abs().max() < CLOSE[metric]


@pytest.fixture(scope="module")
def released():
    return pd.read_parquet(REFERENCE / "first_results.parquet")


def errors(table, split):
    """Metrics by rows."""
    here = table[table["split"] == split]
    return here.pivot_table(index=["subject", "metric"], columns="row", values="error")


def test_the_readme_shows_the_errors_that_are_released(released):
    assert markdown(released[released["split"] == "test"]) in README


@pytest.mark.parametrize("split", ["test", "test, on the map", "heldout, on the map"])
def test_no_row_is_better_than_the_map_where_it_promises(released, split):
    found = errors(released[released["subject"] != "ternary"], split)
    assert len(found) == 7
    assert (found.drop(columns="map").min(axis=1) > found["map"]).all()


def test_what_beats_the_map_of_ternary_networks(released):
    found = errors(released[released["subject"] == "ternary"], "test").loc["ternary"]
    assert (found["random subset"] > found["map"]).all()
    by_weights = found["layer statistics with trees"] < found["map"]
    assert by_weights.index[by_weights].tolist() == ["distance_correlation"]
    assert (found["Epsilon-VAE"] < found["map"]).all()


def test_off_the_map_it_loses_what_the_readme_says(released):
    prose = " ".join(README.split())
    found = errors(released, "heldout")
    lost = found[found["random subset"] < found["map"]]
    assert [f"{subject} {metric}" for subject, metric in lost.index] == [
        "digits calibration_error",
        "digits nll",
    ]
    for _, row in lost.iterrows():
        assert f"({row['map']:.2f} against {row['random subset']:.2f})" in prose
    digits = released[released["subject"] == "digits"].groupby("split")["checkpoints"].first()
    whole, kept = digits["heldout"], digits["heldout, on the map"]
    assert f"flags {whole - kept} of those {whole} checkpoints" in prose
