"""Parameters: what a chapter declares, and which values it accepts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from epsvae.errors import ChapterError
from tools.book.chapters import Chapter, read_chapter
from tools.book.parameters import checked_parameters, declared_parameters, parse_value

Chapters = Callable[[str], Chapter]


@pytest.fixture
def chapter(tmp_path: Path, write_chapter: Callable[..., Path]) -> Chapters:
    def read(parameters: str) -> Chapter:
        return read_chapter(write_chapter(tmp_path, "a", [], parameters=parameters), "a")

    return read


def test_declared_values_are_those_of_the_cell(chapter: Chapters) -> None:
    source = "fast = True\nseed: int = -3  # a comment\nnames = ['x', 'y']\nrate = 1e-3"
    declared = {"fast": True, "seed": -3, "names": ["x", "y"], "rate": 1e-3}
    assert declared_parameters(chapter(source)) == declared


@pytest.mark.parametrize("source", ["n = 2 ** 10", "import os", "a = b = 1", "print(1)"])
def test_anything_but_literals_is_refused(chapter: Chapters, source: str) -> None:
    with pytest.raises(ChapterError, match="a: expected only `name = literal`"):
        declared_parameters(chapter(source))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"fst": True}, "a: unknown parameter 'fst'; declared: fast, seed, rate"),
        ({"fast": "false"}, "a: parameter 'fast' expected bool, found str 'false'"),
        ({"fast": 0}, "a: parameter 'fast' expected bool, found int 0"),
        ({"seed": True}, "a: parameter 'seed' expected int, found bool True"),
        ({"seed": 1.5}, "a: parameter 'seed' expected int, found float 1.5"),
        ({"rate": "x"}, "a: parameter 'rate' expected float, found str 'x'"),
    ],
)
def test_wrong_names_and_types_are_refused(
    chapter: Chapters, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(ChapterError) as caught:
        checked_parameters(chapter("fast = True\nseed = 1\nrate = 0.1"), given)
    assert str(caught.value) == message


def test_chapter_without_parameters_accepts_none(chapter: Chapters) -> None:
    assert checked_parameters(chapter(""), {}) == {}
    with pytest.raises(ChapterError, match="declared: none"):
        checked_parameters(chapter(""), {"x": 1})


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("false", False),
        ("True", True),
        ("3", 3),
        ("1e-3", 1e-3),
        ("[1, 2]", [1, 2]),
        ("a b", "a b"),
    ],
)
def test_text_from_the_command_line(text: str, value: object) -> None:
    assert parse_value(text) == value
    assert type(parse_value(text)) is type(value)
