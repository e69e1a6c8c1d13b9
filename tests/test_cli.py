"""``epsvae``: what a user types, what a user reads, and one line where something is wrong."""

import errno
import io
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch
import typer
from typer.testing import CliRunner

from epsvae.cli import app, main
from epsvae.subjects.ternary import METRIC_NAMES, Architecture
from epsvae.subjects.ternary.library.extracted import load_split
from epsvae.subjects.ternary.library.index import read_index
from research.ternary import catalogue
from research.ternary.recipes import BaseRecipe, Recipe

ROOT = Path(__file__).resolve().parents[1]
MAP = ROOT / "data" / "reference" / "aligned" / "map.pt"
CHECKPOINTS = sorted((ROOT / "data" / "reference" / "checkpoints").glob("*/*.safetensors"))
SMALL = Architecture(encoder_widths=(12, 8), latent_dim=4, decoder_widths=(6,), projection_hidden=8)

Answer = tuple[int, str, str]
Run = Callable[..., Answer]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Return a function that runs a command as a shell would: (exit code, stdout, stderr)."""

    def invoke(*arguments: str | Path) -> Answer:
        monkeypatch.setattr(sys, "argv", ["epsvae", *map(str, arguments)])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code or 0, *capsys.readouterr())  # type: ignore[return-value]

    return invoke


def commands(group: Any, name: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its words."""
    yield name, group
    for word, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*name, word))


COMMANDS = dict(commands(typer.main.get_command(app)))
LEAVES = [name for name, command in COMMANDS.items() if not hasattr(command, "commands")]
TAUGHT = {
    (): ["map of checkpoint behaviour", "library", "extract", "train", "predict", "book"],
    ("library",): ["build", "import", "Libraries of ternary networks on disk"],
    ("library", "build"): ["goes on where a killed build stopped", "small (four runs a split)"],
    ("library", "import"): [".safetensors, .pt, .pth or .ckpt", "every directory is one run"],
    ("extract",): ["anchor embeddings", "artifacts/epsilon_vae_hybrid"],
    ("train",): ["best.pt", "final.pt", "validation", "--seed"],
    ("fit",): ["from a few answers to every metric", "my_subject.py", "measured", "--inputs"],
    ("subject",): ["new", "check"],
    ("subject", "new"): ["tiny classifier", "my_subject.py"],
    ("subject", "check"): ["how to mend it", "Runs the subject's code", "example()"],
    ("predict",): ["runs a few", "90 % interval", "data/reference/both/map.pt"],
    ("similar",): ["behave most like a file", "default: the map's own library", "marked ~", "--k"],
    ("reproduce",): ["From nothing", "resumes", "reference release"],
    ("study",): [
        "several training seeds",
        "ablations",
        "resumes cell by cell",
        "epsvae study scaling",
    ],
    ("bench",): ["Time the full evaluation", "--jobs"],
    ("book",): ["run", "check", "assets"],
    ("book", "run"): ["world/operations", "name=value"],
    ("book", "check"): ["writing rules"],
    ("book", "assets"): ["scripts"],
}


@pytest.mark.parametrize("name", COMMANDS, ids=" ".join)
def test_help_teaches(name: tuple[str, ...]) -> None:
    result = CliRunner().invoke(app, [*name, "--help"])
    assert result.exit_code == 0
    text = re.sub(r"[\s│]+", " ", result.output)
    for words in TAUGHT[name]:
        assert words in text


@pytest.mark.parametrize("name", LEAVES, ids=" ".join)
def test_every_argument_is_explained(name: tuple[str, ...]) -> None:
    parameters = COMMANDS[name].params
    assert [p.name for p in parameters if not getattr(p, "help", "")] == []


def test_no_command_shows_the_help() -> None:
    result = CliRunner().invoke(app, [])
    assert "Usage" in result.output
    assert "predict" in result.output


def test_predict_prints_three_metrics_a_file(run: Run) -> None:
    files = CHECKPOINTS[:2]
    code, out, err = run("predict", *files, "--map", MAP)
    assert (code, err) == (0, "")
    header, *rows = out.splitlines()
    assert header.split() == ["file", *METRIC_NAMES, "off", "map", "flag", "why"]
    assert [row.split()[0] for row in rows] == [str(file) for file in files]
    for row in rows:
        intervals = re.findall(r"(-?[\d.]+) \[(-?[\d.]+), (-?[\d.]+)\]", row)
        assert len(intervals) == len(METRIC_NAMES)
        for value, low, high in (map(float, found) for found in intervals):
            assert -1 <= low <= value <= high <= 1
        assert float(row.split("]")[-1]) <= 1  # a run of the library is on the map


def test_predict_without_a_calibration_prints_values_alone(run: Run, tmp_path: Path) -> None:
    shutil.copyfile(MAP, tmp_path / "map.pt")
    code, out, err = run("predict", CHECKPOINTS[0], "--map", tmp_path / "map.pt")
    assert (code, err) == (0, "")
    header, row = [line.split() for line in out.splitlines()]
    assert header == ["file", *METRIC_NAMES]
    assert all(-1 <= float(value) <= 1 for value in row[1:])


def test_predict_writes_every_column_for_programs(run: Run) -> None:
    code, out, _ = run("predict", CHECKPOINTS[0].parent, "--csv", "--map", MAP)
    table = pd.read_csv(io.StringIO(out))
    assert code == 0
    assert list(table["file"]) == [str(f) for f in CHECKPOINTS if f.parent == CHECKPOINTS[0].parent]
    assert {"coverage_low", "coverage_high", "off_map", "flag", "why"} < set(table)


def test_predict_reads_published_files(run: Run, tmp_path: Path) -> None:
    """The same network in both formats has the same metrics, but for what the file says of it."""
    from epsvae import load_checkpoint

    checkpoint = load_checkpoint(CHECKPOINTS[0])
    contents = {
        "model_state_dict": checkpoint.state,
        "config": {"max_radius": checkpoint.max_radius},
    }
    torch.save(contents, tmp_path / "published.pt")
    answers = [run("predict", f, "--map", MAP) for f in (CHECKPOINTS[0], tmp_path / "published.pt")]
    assert [code for code, *_ in answers] == [0, 0]
    numbers = [out.splitlines()[1].split()[1:] for _, out, _ in answers]
    assert numbers[0] == numbers[1]


def test_a_bad_file_is_refused_in_a_line_and_the_others_are_predicted(
    run: Run, tmp_path: Path
) -> None:
    bad = {name: tmp_path / name for name in ("text.pt", "empty.pt", "half.safetensors")}
    bad["text.pt"].write_text("not a checkpoint\n" * 10)
    bad["empty.pt"].touch()
    bad["half.safetensors"].write_bytes(CHECKPOINTS[0].read_bytes()[:1000])
    bad["missing.pt"] = tmp_path / "missing.pt"
    code, out, err = run("predict", *bad.values(), CHECKPOINTS[0], "--map", MAP)
    assert code == 1
    assert str(CHECKPOINTS[0]) in out
    reasons = err.splitlines()
    assert len(reasons) == len(bad)
    for reason, path in zip(reasons, bad.values(), strict=True):
        assert re.match(f"refused: {re.escape(str(path))}: expected .*, found", reason)
    assert "Traceback" not in err


@pytest.mark.parametrize("damage", ["missing", "text", "checkpoint"])
def test_a_bad_map_is_refused_in_a_line(run: Run, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "map.pt"
    if damage == "text":
        path.write_text("not a map")
    elif damage == "checkpoint":
        torch.save({"model_state_dict": {}}, path)
    code, out, err = run("predict", CHECKPOINTS[0], "--map", path)
    assert (code, out) == (1, "")
    assert re.fullmatch(f"error: {re.escape(str(path))}: expected .*, found .*\n", err)


def test_similar_prints_the_nearest_of_the_library(run: Run) -> None:
    code, out, err = run("similar", CHECKPOINTS[0], "--map", MAP, "--k", "3")
    assert (code, err) == (0, "")
    title, header, *rows = out.splitlines()
    assert re.fullmatch(re.escape(str(CHECKPOINTS[0])) + r", off map \d\.\d\d", title)
    assert header.split() == ["distance", "run", "epoch", *METRIC_NAMES, "file"]
    distances = [float(row.split()[0]) for row in rows]
    assert len(rows) == 3
    assert distances == sorted(distances)
    assert distances[0] < 0.05  # the library holds the file itself
    assert rows[0].split()[1] == CHECKPOINTS[0].parent.name
    assert "~" not in out


def test_similar_searches_a_folder_and_refuses_in_a_line(run: Run, tmp_path: Path) -> None:
    from epsvae import load_checkpoint

    state = load_checkpoint(CHECKPOINTS[1]).state
    (tmp_path / "mine").mkdir()
    torch.save({"model_state_dict": state}, tmp_path / "mine" / "known.pt")
    (tmp_path / "mine" / "bad.pt").write_text("text")
    code, out, err = run("similar", CHECKPOINTS[0], "--library", tmp_path, "--map", MAP)
    assert code == 1
    assert re.fullmatch(f"refused: {re.escape(str(tmp_path))}/mine/bad.pt: expected .*\n", err)
    row = out.splitlines()[2].split()
    assert row[1:3] == ["mine", "?"]
    assert [value[0] for value in row[3:6]] == ["~"] * 3


def test_similar_without_anything_to_search(run: Run, tmp_path: Path) -> None:
    shutil.copyfile(MAP, tmp_path / "map.pt")
    code, out, err = run("similar", CHECKPOINTS[0], "--map", tmp_path / "map.pt")
    assert (code, out) == (1, "")
    assert err.startswith(f"error: {tmp_path}: expected z.parquet, the places of a library, found")
    code, _, err = run("similar", CHECKPOINTS[0], "--map", MAP, "--library", tmp_path / "nowhere")
    assert code == 1
    assert err.splitlines()[-1] == "error: library: expected at least one checkpoint, found none"


def test_import_of_good_and_bad_files(run: Run, tmp_path: Path) -> None:
    for name in ("run-1/a.safetensors", "run-2/b.safetensors"):
        (tmp_path / name).parent.mkdir()
        shutil.copyfile(CHECKPOINTS[0], tmp_path / name)
    (tmp_path / "run-2" / "broken.pt").write_bytes(b"\x80\x02garbage")
    code, out, err = run("library", "import", tmp_path, "--name", "mine")
    assert (code, out) == (0, "2 checkpoints indexed, 1 refused\n")
    refusals = [line for line in err.splitlines() if line.startswith("refused")]
    assert any("broken.pt: expected a checkpoint" in line for line in refusals)
    found = read_index(tmp_path)
    assert set(found["library"]) == {"mine"}
    assert list(found["run"]) == ["run-1", "run-2"]


def test_import_of_nothing_usable(run: Run, tmp_path: Path) -> None:
    (tmp_path / "broken.pt").write_bytes(b"")
    code, _, err = run("library", "import", tmp_path)
    assert code == 1
    assert err.splitlines()[-1] == (
        f"error: {tmp_path}: expected at least one usable checkpoint, found none"
    )
    assert not (tmp_path / "index.parquet").exists()
    code, _, err = run("library", "import", tmp_path / "missing")
    assert (code, err) == (
        1,
        f"error: {tmp_path / 'missing'}: expected a folder of checkpoints, found none\n",
    )


def test_a_full_disk_is_one_line(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    shutil.copyfile(CHECKPOINTS[0], tmp_path / "a.safetensors")
    monkeypatch.setattr(pd.DataFrame, "to_parquet", fail)
    code, out, err = run("library", "import", tmp_path)
    assert (code, out, err) == (1, "", "error: [Errno 28] No space left on device\n")
    assert [path.name for path in tmp_path.iterdir()] == ["a.safetensors"]


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """A catalogue of one library, whose runs take no time."""
    base = BaseRecipe(architecture=SMALL, max_steps=1, target_coverage=0.0)
    recipes = [
        Recipe(f"tiny-{i}", "tiny", split, i, base, seed=i, epochs=1, n_checkpoints=1)
        for i, split in enumerate(("train", "validation", "test"))
    ]
    # `research.ternary.catalogue` is a module with a function of its own name.
    monkeypatch.setattr(catalogue, "catalogue", lambda _: {"tiny": recipes})


@pytest.mark.usefixtures("tiny")
def test_from_recipes_to_arrays(run: Run, tmp_path: Path) -> None:
    root, out = tmp_path / "library", tmp_path / "arrays"
    code, printed, _ = run("library", "build", "tiny", "--root", root, "--jobs", "1")
    assert code == 0
    assert re.search(r"train +1 +1\n", printed)
    assert run("library", "build", "--root", root, "--jobs", "1")[:2] == (0, printed)
    assert run("extract", "tiny", "--root", root, "--out", out)[0] == 0
    assert load_split(out, "test").embeddings.shape == (1, 256, 4)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["library", "build", "large"], "libraries: expected tiny, found ['large']"),
        (["extract", "tiny"], "index.parquet: expected the index of a library, found nothing"),
        (["train", "nowhere"], "expected an extracted library, found FileNotFoundError"),
    ],
)
def test_mistakes_are_named(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out) == (1, "")
    assert err.startswith("error: ")
    assert message in err
    assert err.count("\n") == 1


@pytest.mark.parametrize("command", [["library", "build"], ["reproduce"]])
def test_a_mistyped_scale_builds_nothing(run: Run, tmp_path: Path, command: list[str]) -> None:
    folder = "--root" if command[0] == "library" else "--artifacts"
    code, _, err = run(*command, "--scale", "ful", folder, tmp_path)
    assert (code, err) == (1, "error: scale: expected 'full' or 'small', found 'ful'\n")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("tiny")
def test_an_unknown_library_is_named_with_the_known_ones(run: Run, tmp_path: Path) -> None:
    assert run("library", "build", "--root", tmp_path, "--jobs", "1")[0] == 0
    code, _, err = run("extract", "large", "--root", tmp_path, "--out", tmp_path / "arrays")
    assert (code, err) == (1, "error: library: expected one of tiny, found 'large'\n")


def test_as_a_module_and_from_another_folder(tmp_path: Path) -> None:
    """One real process: `python -m epsvae`, a good file and a bad one."""
    bad = tmp_path / "bad.pt"
    bad.write_text("text")
    command = [sys.executable, "-m", "epsvae", "predict", CHECKPOINTS[0], bad, "--map", MAP]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "coverage" in done.stdout
    assert done.stderr.startswith(f"refused: {bad}: expected a checkpoint")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == [bad]
