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


def test_a_chapter_of_which_only_timings_changed_stays_as_it_is(
    make_toc: MakeToc, write_chapter: Write
) -> None:
    root = make_toc(["clock"])
    cells = ["import time; print(time.perf_counter())"]
    path = write_chapter(root, "clock", cells, tags=["nbval-ignore-output"])
    assert run_book(root).ran == ["clock"]
    published = path.read_bytes()
    (root / "artifacts" / "book" / "stamps.json").unlink()  # as in a fresh clone
    assert run_book(root).ran == ["clock"]
    assert path.read_bytes() == published
    assert run_book(root).current == ["clock"]
    assert run_book(root, ["clock"], force=True).ran == ["clock"]
    assert path.read_bytes() != published


def test_last_digits_of_another_processor_leave_a_chapter_as_it_is(
    make_toc: MakeToc, write_chapter: Write
) -> None:
    root = make_toc(["rounding"])
    path = write_chapter(root, "rounding", ["print('error 0.123, 4 runs')"])
    assert run_book(root).ran == ["rounding"]
    here = path.read_text().replace("error 0.123, 4 runs\\n", "error 0.124, 4 runs\\n")
    path.write_text(here)  # as another processor stored it
    run_book(root)
    assert path.read_text() == here
    path.write_text(here.replace("0.124, 4 runs\\n", "0.124, 5 runs\\n"))
    run_book(root)
    assert outputs(path) == ["error 0.123, 4 runs\n"]  # a count has no last digit


def test_a_chaotic_picture_stays_while_its_code_does(
    make_toc: MakeToc, write_chapter: Write
) -> None:
    root = make_toc(["chaos"])
    draw = (
        "import base64, io, os\nfrom IPython.display import Image, display\n"
        "from PIL import Image as Picture\n"
        "file = io.BytesIO()\nPicture.frombytes('L', (8, 8), os.urandom(64)).save(file, 'png')\n"
        "display(Image(file.getvalue()))"
    )
    path = write_chapter(root, "chaos", [f"# compared within 0.2: random\n{draw}"])
    run_book(root)
    first = path.read_bytes()
    (root / "artifacts" / "book" / "stamps.json").unlink()
    run_book(root)
    assert path.read_bytes() == first
    edited = first.replace(b"within 0.2: random", b"within 0.3: random")
    path.write_bytes(edited)
    run_book(root)
    assert path.read_bytes() != edited


def test_failure_leaves_the_source_whole_and_holds_up_no_other(
    make_toc: MakeToc,
    write_chapter: Write,
) -> None:
    root = make_toc(["broken", "after", "other"])
    broken = write_chapter(root, "broken", ["x = 1", "raise RuntimeError('no data')"])
    write_chapter(root, "after", [], needs=["broken"])
    write_chapter(root, "other", ["print(1)"])
    before = broken.read_bytes()

    report = run_book(root)

    assert report.ran == ["after", "other"]
    assert not report.ok
    expected = "broken: cell 3 (In [2]) of book/broken.ipynb raised RuntimeError: no data"
    assert report.failed["broken"].startswith(expected)
    assert list(read_failures(root)) == ["broken"]
    assert broken.read_bytes() == before
    assert [path.name for path in broken.parent.iterdir() if path.name.startswith(".")] == []
    write_chapter(root, "broken", ["x = 1"])
    assert run_book(root, ["broken"]).ok
    assert read_failures(root) == {}


def test_an_assertion_speaks_for_itself(make_toc: MakeToc, write_chapter: Write) -> None:
    root = make_toc(["broken"])
    write_chapter(root, "broken", ["x = 2\nassert x == 1, f'x: expected 1, found {x}'"])
    words = run_book(root).failed["broken"]
    where = "broken: cell 2 (In [1]) of book/broken.ipynb"
    assert words.startswith(f"{where} raised AssertionError: x: expected 1, found 2")
    assert "line 2" in words


def test_dead_kernel_is_a_failure_of_its_chapter(make_toc: MakeToc, write_chapter: Write) -> None:
    root = make_toc(["dies"])
    path = write_chapter(root, "dies", ["import os; os._exit(1)"])
    before = path.read_bytes()
    assert "DeadKernelError" in run_book(root).failed["dies"]
    assert path.read_bytes() == before


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
