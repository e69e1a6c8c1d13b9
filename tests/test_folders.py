"""A folder of runs becomes training and validation runs, and they become examples."""

from pathlib import Path

import pytest
import torch

from epsvae.checkpoints import write_state
from epsvae.errors import LibraryError, SubjectError
from epsvae.folders import examples, split_runs
from epsvae.loading import load_subject

BLOBS = Path(__file__).with_name("toys") / "blobs.py"
METRICS = {"accuracy": 0.5, "nll": 1.0, "confidence": 0.6}


def write_runs(folder, n_runs, per_run=2, metrics=None):
    state = load_subject(BLOBS).example()
    for run in range(n_runs):
        for step in range(per_run):
            write_state(folder / f"run-{run}" / f"{step}.safetensors", state, step, metrics)


def test_runs_are_never_divided(tmp_path, caplog):
    caplog.set_level("INFO")
    write_runs(tmp_path, 10)
    write_runs(tmp_path / "test", 3)
    train, validation = split_runs(tmp_path)
    assert train["run"].nunique() == 8 and validation["run"].nunique() == 2
    assert not set(train["run"]) & set(validation["run"])
    assert not any("/test/" in file for file in [*train["file"], *validation["file"]])
    assert "2 runs validate" in caplog.text and "10 runs are few" in caplog.text
    assert split_runs(tmp_path, 1)[1]["run"].tolist() != validation["run"].tolist()


def test_folders_called_train_and_validation_are_taken_as_they_are(tmp_path):
    write_runs(tmp_path / "train", 20)
    write_runs(tmp_path / "validation", 3)
    write_runs(tmp_path / "test", 3)
    train, validation = split_runs(tmp_path)
    assert (train["run"].nunique(), validation["run"].nunique()) == (20, 3)


@pytest.mark.parametrize("n_runs", [1, 3])
def test_few_runs_are_refused_with_the_reason(tmp_path, n_runs):
    write_runs(tmp_path, n_runs)
    with pytest.raises(LibraryError, match=f"at least 4 runs.*found {n_runs}; .*resemble"):
        split_runs(tmp_path)


def test_metrics_are_read_or_else_measured(tmp_path):
    subject = load_subject(BLOBS)
    write_runs(tmp_path / "known", 4, metrics=METRICS)
    write_runs(tmp_path / "unknown", 4)
    known = next(examples(subject, split_runs(tmp_path / "known")[0]))
    assert known.metrics == METRICS
    unknown = next(examples(subject, split_runs(tmp_path / "unknown")[0]))
    assert unknown.metrics == subject.measure(subject.build(unknown.state))
    assert Path(unknown.source).parent == Path(unknown.run)


def test_a_damaged_file_is_passed_over_and_another_network_is_an_error(tmp_path, caplog):
    subject = load_subject(BLOBS)
    write_runs(tmp_path, 4)
    (tmp_path / "run-0" / "1.safetensors").write_bytes(b"cut")
    (tmp_path / "run-1" / "1.safetensors").write_bytes(b"cut")
    parts = [list(examples(subject, table)) for table in split_runs(tmp_path)]
    assert sum(map(len, parts)) == 6
    assert "passed over" in caplog.text
    write_state(tmp_path / "run-2" / "other.safetensors", {"a": torch.zeros(3)})
    with pytest.raises(SubjectError, match=r"other\.safetensors: expected a checkpoint of blobs"):
        for table in split_runs(tmp_path):
            list(examples(subject, table))
