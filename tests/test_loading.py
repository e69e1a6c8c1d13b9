"""Subjects by file and by name; every failure names the file, what was expected and found."""

from pathlib import Path

import pytest

from epsvae.errors import SubjectError
from epsvae.loading import load_subject, write_template
from epsvae.subject import check

TOYS = Path(__file__).with_name("toys")
HEAD = "import torch\nfrom epsvae.subject import Metric, Subject\n"
GOOD = HEAD + (
    "class Mine(Subject):\n"
    "    name = 'mine'\n"
    "    metrics = (Metric('m'),)\n"
    "    inputs = torch.zeros(4, 2)\n"
    "    def build(self, state): return torch.nn.Identity()\n"
    "    def measure(self, module): return {'m': 0.0}\n"
)
BAD = {
    "syntax": ("class:", "SyntaxError"),
    "raises": ("import torch\nx = 1 / 0", r"ZeroDivisionError: division by zero \(line 2\)"),
    "exits": ("raise SystemExit(3)", "SystemExit"),
    "imports": ("import no_such_module", "no_such_module"),
    "nothing": (HEAD, "one subclass of epsvae.subject.Subject.* found none"),
    "two": (GOOD + GOOD.replace("Mine", "Yours"), "found Mine, Yours"),
    "other": ("subject = 3", "expected a Subject, found int"),
    "class": (GOOD + "    def __init__(self): raise OSError('disk')", r"Mine\(\) to work.*disk"),
    "arguments": (GOOD + "    def __init__(self, path): pass", r"Mine\(\) to work.*path"),
    "no name": (GOOD.replace("name =", "nam ="), "expected name as str"),
    "no metrics": (GOOD.replace("metrics =", "metric ="), "expected metrics as tuple or list"),
    "empty": (GOOD.replace("(Metric('m'),)", "()"), "tuple of Metric, found none"),
    "words": (GOOD.replace("Metric('m')", "'m'"), "tuple of Metric, found str"),
    "range": (GOOD.replace("Metric('m')", "Metric('m', 1, 0)"), "low < high, found 1 and 0"),
    "twice": (GOOD.replace("'m'),", "'m'), Metric('m')"), "different names"),
    "no inputs": (GOOD.replace("inputs =", "input ="), "expected inputs as Tensor"),
    "array": (GOOD.replace("torch.zeros(4, 2)", "[1, 2]"), "expected inputs as Tensor, found list"),
    "targets": (GOOD + "    targets = torch.zeros(3)", "one target for each of 4 inputs"),
    "no build": (GOOD.replace("build", "built"), r"define build\(state\)"),
    "no measure": (GOOD.replace("measure", "measures"), r"measure\(module\), or items"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_with_a_file_is_said(tmp_path, kind):
    text, said = BAD[kind]
    path = tmp_path / "mine.py"
    path.write_text(text)
    with pytest.raises(SubjectError, match=said) as caught:
        load_subject(path)
    assert str(caught.value).startswith(f"{path}: expected")


def test_a_subject_is_loaded_by_file_and_by_instance(tmp_path):
    (tmp_path / "beside.py").write_text("NAME = 'mine, too'")
    path = tmp_path / "mine.py"
    path.write_text(GOOD + "from beside import NAME\nsubject = Mine()\nsubject.name = NAME\n")
    assert load_subject(path).name == "mine, too"
    assert load_subject(str(TOYS / "blobs.py")).name == "blobs"


def test_a_subject_is_loaded_by_name():
    assert load_subject("epsvae.template:MySubject").name == "my-networks"
    for name, said in {
        "epsvae.nothing:X": "No module named",
        "epsvae.template:Yours": "expected Yours in it, found these subjects: MySubject",
        "json:loads": "expected a Subject, found function",
        "no/such/file.py": "no file",
        "..": "expected a file ending in .py",
    }.items():
        with pytest.raises(SubjectError, match=said):
            load_subject(name)


def test_the_template_is_short_runs_passes_and_is_never_overwritten(tmp_path):
    path = tmp_path / "my_subject.py"
    write_template(path)
    text = path.read_text()
    assert len(text.splitlines()) <= 40
    assert check(load_subject(path)) == []
    with pytest.raises(SubjectError, match="left as it is"):
        write_template(path)
    assert path.read_text() == text


@pytest.mark.parametrize("name", ["ternary", "digits"])
def test_what_comes_with_the_package_has_a_short_name(name):
    assert load_subject(name).name == name
