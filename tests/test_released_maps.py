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
"""No prediction for a carried checkpoint is further off: some four times the mean error."""
INSIDE = 0.75
"""Share of recorded values inside their 90 % intervals: six checkpoints of two runs are few."""
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
    assert len(said) == 6 and not said["flag"].any()
    true = pd.DataFrame([read_state(file).metrics for file in said["file"]])
    inside = [true[m].between(said[f"{m}_low"], said[f"{m}_high"]).mean() for m in true]
    assert sum(inside) / len(inside) >= INSIDE
    for metric in true:
        assert (said[metric] - true[metric]).abs().max() < CLOSE[metric]


def test_the_readme_shows_the_errors_that_are_released():
    table = pd.read_parquet(REFERENCE / "first_results.parquet")
    assert markdown(table[table["split"] == "test"]) in README
