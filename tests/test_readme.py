"""The README keeps its word: its example runs, its commands and paths exist, its facts agree."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import typer
import yaml

from epsvae.cli import app
from epsvae.subjects.ternary import METRIC_NAMES

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text(encoding="utf8")
NUMBERS = re.compile(r"-?\d+\.?\d*")


def blocks(language: str) -> list[str]:
    """Return the fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def code() -> list[str]:
    """Return every command line of the README: lines of sh blocks, and code in sentences."""
    lines = [line.partition("  #")[0].strip() for line in "".join(blocks("sh")).splitlines()]
    prose = re.sub(r"^```.*?^```$", "", README, flags=re.MULTILINE | re.DOTALL)
    return [*filter(None, lines), *re.findall(r"`([^`]+)`", prose)]


def tree() -> list[str]:
    """Return the paths that the annotated tree names; two spaces deeper is one folder down."""
    [text] = blocks("text")
    paths: list[str] = []
    folders: list[str] = []
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        if depth <= len(folders):  # deeper: a comment goes on
            folders = [*folders[:depth], line.split()[0]]
            paths.append("".join(folders))
    return paths


MAKE = sorted({m for line in code() for m in re.findall(r"\bmake ([a-z]+)$", line)})
EPSVAE = sorted({m for line in code() for m in re.findall(r"\bepsvae ([a-z].*)$", line)})


def test_example_predicts_close_to_what_was_measured() -> None:
    [example] = blocks("python")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    predicted, measured = (
        np.array([float(number) for number in NUMBERS.findall(line)])
        for line in done.stdout.splitlines()
    )
    assert len(predicted) == len(measured) == len(METRIC_NAMES)
    assert np.abs(predicted - measured).max() < 0.2


def test_example_is_short() -> None:
    [example] = blocks("python")
    assert sum(bool(line.strip()) for line in example.splitlines()) <= 15


def test_readme_names_commands() -> None:
    assert {"book", "test", "reproduce"} <= set(MAKE)
    assert {command.split()[0] for command in EPSVAE} >= {"predict", "library"}


@pytest.mark.parametrize("target", MAKE)
def test_make_target_exists(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf8")
    assert re.search(rf"^{target}:.*## ", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize("command", EPSVAE)
def test_command_exists(command: str) -> None:
    found = typer.main.get_command(app)
    for word in command.split():
        if not (children := getattr(found, "commands", None)):
            break
        assert word in children, f"epsvae {command}: expected one of {sorted(children)}"
        found = children[word]
    assert not getattr(found, "commands", None), f"epsvae {command} is a group, not a command"


@pytest.mark.parametrize("path", tree())
def test_path_of_the_tree_exists(path: str) -> None:
    found = ROOT / path
    assert found.is_dir() if path.endswith("/") else found.is_file()


def test_tree_names_every_room_of_the_package_and_of_the_book() -> None:
    rooms = {
        f"{top}/{folder.name}/"
        for top, mark in (("epsvae", "__init__.py"), ("book", "*.ipynb"), ("book", "*.md"))
        for folder in (ROOT / top).iterdir()
        if folder.is_dir() and any(folder.glob(mark))
    }
    assert rooms <= set(tree())


@pytest.mark.parametrize("target", re.findall(r"\]\(([^)#]+)\)", README))
def test_link_leads_to_a_file(target: str) -> None:
    assert target.startswith("https://") or (ROOT / target).is_file()


def test_citations_agree() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]
    [bibtex] = blocks("bibtex")
    assert citation["version"] == project["version"]
    assert citation["license"] == project["license"]
    assert f"title = {{{citation['title']}}}" in bibtex
    assert f"version = {{{citation['version']}}}" in bibtex
