"""The runner, with real notebooks and real kernels."""

from collections.abc import Callable, Sequence
from pathlib import Path

import nbformat
import pytest

from epsvae.errors import ChapterError
from tools.book.chapters import ordered, read_chapters
from tools.book.runner import run_book, run_variant
from tools.book.stamps import read_failures, source_stamp

MakeToc = Callable[[Sequence[str]], Path]
Write = Callable[..., Path]


@pytest.fixture(autouse=True)
def same_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep edits of the package during a test out of the stamps."""
    monkeypatch.setattr("tools.book.runner.source_stamp", lambda root: "package")


def outputs(path: Path) -> list[str]:
    """Return the text that each code cell of a notebook printed."""
    cells = nbformat.read(path, as_version=4).cells
    return ["".join(o.get("text", "") for o in c.outputs) for c in cells if c.cell_type == "code"]


def test_chapters_run_after_what_they_need(make_toc: MakeToc, write_chapter: Write) -> None:
    root = make_toc(["a", "b", "c"])
    write_chapter(root, "a", [], needs=["c"])
    write_chapter(root, "b", [])
    write_chapter(root, "c", [])
    assert [chapter.name for chapter in ordered(read_chapters(root))] == ["b", "c", "a"]


def test_chapters_that_need_each_other_are_refused(make_toc: MakeToc, write_chapter: Write) -> None:
    root = make_toc(["a", "b"])
    write_chapter(root, "a", [], needs=["b"])
    write_chapter(root, "b", [], needs=["a"])
    with pytest.raises(ChapterError, match="need each other: . → . → ."):
        run_book(root)


def test_unknown_need_and_unknown_chapter_are_refused(
    make_toc: MakeToc, write_chapter: Write
) -> None:
    root = make_toc(["a"])
    write_chapter(root, "a", [], needs=["z"])
    with pytest.raises(ChapterError, match="a: needs z; the chapters are a"):
        run_book(root)
    write_chapter(root, "a", [])
    with pytest.raises(ChapterError, match="unknown chapter y; the chapters are a"):
        run_book(root, ["y"])


def test_missing_page_is_refused(make_toc: MakeToc) -> None:
    with pytest.raises(ChapterError, match="book/a: expected a.ipynb or a.md"):
        run_book(make_toc(["a"]))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"cells": 3, "metadata": {}, "nbformat": 4}'])
def test_file_that_is_no_notebook_is_refused(make_toc: MakeToc, text: str) -> None:
    root = make_toc(["a"])
    (root / "book" / "a.ipynb").write_text(text, encoding="utf8")
    with pytest.raises(ChapterError, match=r"a: expected a notebook in .*a\.ipynb, found"):
        run_book(root)


def test_run_skips_what_is_current_and_follows_changes(
    make_toc: MakeToc, write_chapter: Write
) -> None:
    root = make_toc(["one", "two"])
    first = write_chapter(root, "one", ["print(6 * 7)", "import os; print(os.getcwd())"])
    write_chapter(root, "two", ["print('second')"], needs=["one"])

    assert run_book(root).ran == ["one", "two"]
    assert outputs(first) == ["42\n", f"{first.parent}\n"]  # the kernel works in the own folder
    stored = nbformat.read(first, as_version=4)
    assert "papermill" not in stored.metadata
    assert all("papermill" not in cell.metadata for cell in stored.cells)
    assert [cell.execution_count for cell in stored.cells[1:]] == [1, 2]

    assert run_book(root).current == ["one", "two"]
    write_chapter(root, "one", ["print(6 * 8)"])
    assert run_book(root).ran == ["one", "two"]  # what needs a changed chapter runs again
    assert outputs(first) == ["48\n"]


CLOCK = "import time; print(time.perf_counter())"
DRAW = """# compared within 0.2: random
import base64, io, os
from IPython.display import Image, display
from PIL import Image as Picture
file = io.BytesIO()
Picture.frombytes('L', (8, 8), os.urandom(64)).save(file, 'png')
display(Image(file.getvalue()))"""


def test_a_chapter_that_says_the_same_stays_as_it_is(
    make_toc: MakeToc, write_chapter: Write
) -> None:
    """Timings, last digits of another processor and chaotic pictures say nothing new."""
    root = make_toc(["clock", "rounding", "chaos"])
    clock = write_chapter(root, "clock", [CLOCK], tags=["nbval-ignore-output"])
    rounding = write_chapter(root, "rounding", ["print('error 0.123, 4 runs')"])
    chaos = write_chapter(root, "chaos", [DRAW])
    run_book(root)
    here = rounding.read_text().replace("error 0.123, 4 runs\\n", "error 0.124, 4 runs\\n")
    rounding.write_text(here)  # as another processor stored it
    before = [path.read_bytes() for path in (clock, rounding, chaos)]
    (root / "artifacts" / "book" / "stamps.json").unlink()  # as in a fresh clone
    assert run_book(root).ran == ["clock", "rounding", "chaos"]
    assert [path.read_bytes() for path in (clock, rounding, chaos)] == before
    assert run_book(root).current == ["clock", "rounding", "chaos"]

    rounding.write_text(here.replace("0.124, 4 runs\\n", "0.124, 5 runs\\n"))
    edited = before[2].replace(b"within 0.2: random", b"within 0.3: random")
    chaos.write_bytes(edited)
    assert run_book(root).ran == ["rounding", "chaos"]
    assert outputs(rounding) == ["error 0.123, 4 runs\n"]  # a count has no last digit
    assert chaos.read_bytes() != edited
    assert run_book(root, ["clock"], force=True).ran == ["clock"]
    assert clock.read_bytes() != before[0]


FAILING = {
    "broken": ["x = 1", "raise RuntimeError('no data')"],
    "wrong": ["x = 2\nassert x == 1, f'x: expected 1, found {x}'"],
    "dies": ["import os; os._exit(1)"],
}


def test_failures_leave_their_sources_whole_and_hold_up_no_other(
    make_toc: MakeToc, write_chapter: Write
) -> None:
    root = make_toc([*FAILING, "after"])
    paths = [write_chapter(root, name, cells) for name, cells in FAILING.items()]
    write_chapter(root, "after", [], needs=["broken"])
    before = [path.read_bytes() for path in paths]

    report = run_book(root)

    assert report.ran == ["after"]
    assert not report.ok
    expected = "broken: cell 3 (In [2]) of book/broken.ipynb raised RuntimeError: no data"
    assert report.failed["broken"].startswith(expected)
    words = report.failed["wrong"]
    where = "wrong: cell 2 (In [1]) of book/wrong.ipynb"
    assert words.startswith(f"{where} raised AssertionError: x: expected 1, found 2")
    assert "line 2" in words
    assert "DeadKernelError" in report.failed["dies"]
    assert sorted(read_failures(root)) == sorted(FAILING)
    assert [path.read_bytes() for path in paths] == before
    assert [path.name for path in paths[0].parent.iterdir() if path.name.startswith(".")] == []
    write_chapter(root, "broken", ["x = 1"])
    assert run_book(root, ["broken"]).ok
    assert sorted(read_failures(root)) == ["dies", "wrong"]


def test_parameters_go_to_another_file(make_toc: MakeToc, write_chapter: Write) -> None:
    root = make_toc(["a"])
    source = write_chapter(root, "a", ["print(rate, fast)"], parameters="rate = 0.5\nfast = True")
    before = source.read_bytes()

    path = run_variant(root, "a", {"rate": 2, "fast": False})

    assert path == root / "artifacts" / "book" / "a.ipynb"
    assert outputs(path)[-1] == "2.0 False\n"
    assert source.read_bytes() == before
    with pytest.raises(ChapterError, match="expected an output outside the book's sources"):
        run_variant(root, "a", {}, output=source)


def test_interrupt_leaves_everything_whole(
    make_toc: MakeToc, write_chapter: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = make_toc(["a"])
    path = write_chapter(root, "a", ["print(1)"])
    before = path.read_bytes()

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("epsvae.atomic.os.replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        run_book(root)
    assert path.read_bytes() == before
    assert sorted(item.name for item in path.parent.iterdir()) == ["a.ipynb", "index.md"]
    assert not (root / "artifacts").exists()


def test_shared_stamp_follows_the_reference_data(tmp_path: Path) -> None:
    before = source_stamp(tmp_path)
    data = tmp_path / "data" / "reference" / "manifest.json"
    data.parent.mkdir(parents=True)
    data.write_text("{}", encoding="utf8")
    assert source_stamp(tmp_path) != before
    assert source_stamp(tmp_path) == source_stamp(tmp_path)
