"""One set of pins: pyproject.toml, environment.yml, the lock and what is installed agree."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf8"))["project"]


def normal(name: str) -> str:
    """Return a package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(lines: list[str]) -> dict[str, str]:
    """Return versions by package; every line must be an exact pin of a public version."""
    found = {}
    for line in lines:
        match = re.fullmatch(r"([\w.-]+)==([\w.]+)", line)
        assert match, f"expected name==version without a local suffix, found {line!r}"
        found[normal(match[1])] = match[2]
    return found


DIRECT = pins(PROJECT["dependencies"] + PROJECT["optional-dependencies"]["dev"])
LOCK = pins(
    [
        line
        for line in (ROOT / "requirements.lock").read_text(encoding="utf8").splitlines()
        if line and not line.startswith("#")
    ]
)


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_direct_pin_is_that_of_the_lock(name: str) -> None:
    assert LOCK.get(name) == DIRECT[name]


@pytest.mark.parametrize("name", sorted(DIRECT))
def test_installed_version_is_that_of_the_pin(name: str) -> None:
    assert version(name).partition("+")[0] == DIRECT[name]


def test_lock_holds_no_tool_of_the_environment_itself() -> None:
    assert not LOCK.keys() & {"pip", "setuptools", "wheel", "epsvae"}


def test_conda_takes_python_from_the_project_and_the_rest_from_the_lock() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf8"))
    *conda, last = environment["dependencies"]
    minimum = PROJECT["requires-python"].removeprefix(">=")
    assert set(conda) == {f"python={minimum}", "make", "pip"}
    assert last == {"pip": ["--constraint requirements.lock", "--editable .[dev]"]}
