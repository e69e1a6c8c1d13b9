"""The commands for one's own networks, from a new subject to predictions."""

import sys
from pathlib import Path

import pandas as pd
import pytest

from epsvae.checkpoints import write_state
from epsvae.cli import main
from epsvae.loading import load_subject
from tests.toys import zoo

TOYS = Path(__file__).with_name("toys")
BLOBS = TOYS / "blobs.py"


@pytest.fixture
def run(monkeypatch, capsys):
    monkeypatch.setattr("epsvae.map.learn.FOLDS", 2)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["epsvae", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            main()
        shown = capsys.readouterr()
        return end.value.code or 0, shown.out, shown.err

    return run


@pytest.fixture
def folder(tmp_path):
    for place, example in enumerate(zoo.blobs_zoo(load_subject(BLOBS), 12, 0, 3)):
        path = tmp_path / "runs" / example.run / f"{place}.safetensors"
        write_state(path, example.state, place, example.metrics if place % 2 else None)
    return tmp_path / "runs"


def test_a_new_subject_passes_and_is_kept(run, tmp_path):
    file = tmp_path / "my_subject.py"
    assert run("subject", "new", file)[0] == 0
    code, out, _ = run("subject", "check", file)
    assert code == 0 and "keeps its side" in out
    code, _, err = run("subject", "new", file)
    assert code == 1 and "left as it is" in err


def test_a_faulty_subject_is_told_so(run, tmp_path):
    file = tmp_path / "faulty.py"
    text = (TOYS / "blobs.py").read_text()
    file.write_text(text.replace("net.eval()", "net.train()"))
    code, out, _ = run("subject", "check", file)
    assert code == 1 and "module.eval()" in out
    file.write_text(text.replace("import torch", "import no_such_module", 1))
    code, _, err = run("subject", "check", file)
    assert code == 1 and f"error: {file}: expected" in err and "no_such_module" in err


def test_a_folder_becomes_a_map_and_files_become_predictions(run, folder, tmp_path):
    out = tmp_path / "map.safetensors"
    code, said, _ = run("fit", folder, "--subject", BLOBS, "-o", out, "--inputs", 16)
    assert code == 0 and str(out) in said
    code, said, _ = run("predict", folder / "0-0", "--map", out, "--subject", BLOBS)
    assert code == 0 and "accuracy" in said and "off map" in said
    code, said, _ = run("predict", folder / "0-0", "--map", out, "--subject", BLOBS, "--csv")
    (tmp_path / "table.csv").write_text(said)
    table = pd.read_csv(tmp_path / "table.csv")
    assert len(table) == 3 and table["nll"].between(table["nll_low"], table["nll_high"]).all()
    code, _, err = run("predict", folder, "--map", out)
    assert code == 1 and "expected --subject" in err
    code, _, err = run("predict", folder, "--map", out, "--subject", TOYS / "tones.py")
    assert code == 1 and "expected the subject 'blobs'" in err


def test_nothing_is_written_where_nothing_can_be_learned(run, folder, tmp_path):
    code, _, err = run("fit", folder / "0-0", "--subject", BLOBS, "-o", tmp_path / "map")
    assert code == 1 and "at least 4 runs" in err
    assert not (tmp_path / "map").exists()
