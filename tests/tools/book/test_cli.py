"""``epsvae book``: what a user types, and what a user reads when it is wrong."""

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from epsvae.errors import EpsvaeError
from tools.book.cli import book_app

Run = Callable[..., Result]


@pytest.fixture
def run(make_toc: Callable[..., Path], write_chapter: Callable[..., Path]) -> Run:
    root = make_toc(["a"])
    write_chapter(root, "a", ["print(rate)"], parameters="rate = 0.5\nfast = True")

    def invoke(command: str, *arguments: str) -> Result:
        return CliRunner().invoke(book_app, [command, *arguments, "--root", str(root)])

    return invoke


def test_run_then_check(run: Run) -> None:
    assert run("run").exit_code == 0
    result = run("check")  # the chapter of this test has code, but no skeleton
    assert result.exit_code == 1
    assert "a: expected a section ## What we found" in result.output


def test_variant_prints_its_path(run: Run) -> None:
    result = run("run", "a", "-p", "rate=2")
    assert result.exit_code == 0
    assert Path(result.output.strip()).is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["-p", "rate=1"], "-p and --output expect one chapter, found 0"),
        (["a", "-p", "rate"], "-p expects name=value, found 'rate'"),
        (["a", "-p", "fast=no"], "a: parameter 'fast' expected bool, found str 'no'"),
        (["z"], "unknown chapter z; the chapters are a"),
    ],
)
def test_mistakes_are_named(run: Run, arguments: list[str], message: str) -> None:
    result = run("run", *arguments)
    assert result.exit_code == 1
    assert isinstance(result.exception, EpsvaeError)
    assert str(result.exception).endswith(message)


def test_folder_without_a_book_is_named(tmp_path: Path) -> None:
    result = CliRunner().invoke(book_app, ["assets", "--root", str(tmp_path)])
    assert result.exit_code == 1
    assert "expected a folder with _toc.yml here or above, found none" in str(result.exception)
