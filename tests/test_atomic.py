"""Files appear whole or not at all, whatever ends the writing."""

import errno
import os

import pytest

from epsvae.atomic import PARTIAL_SUFFIX, remove_partials, replacing


def test_a_file_appears_at_the_end_and_not_before(tmp_path):
    path = tmp_path / "new" / "folder" / "a.txt"
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent  # the same disk: moving it is one step
        assert temporary.name.startswith(".")
        assert temporary.name.endswith(PARTIAL_SUFFIX)
        assert not path.exists()
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_readers_see_the_old_file_until_the_new_one_is_whole(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert path.read_text() == "new"


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "full"), KeyboardInterrupt(), ValueError])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(type(error) if isinstance(error, BaseException) else error):  # noqa: SIM117
        with replacing(path) as temporary:
            temporary.write_text("half of")
            raise error
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_disk_that_fills_at_the_last_moment(tmp_path, monkeypatch, call):
    def fail(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, fail)
    with pytest.raises(OSError, match="No space left"), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("new")
    assert list(tmp_path.iterdir()) == []


def test_a_block_that_writes_nothing_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        pass
    assert list(tmp_path.iterdir()) == []


def test_two_writers_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with replacing(path) as first, replacing(path) as second:
        assert first != second
        first.write_text("first")
        second.write_text("second")
    assert path.read_text() == "first"  # the last one to end
    assert list(tmp_path.iterdir()) == [path]


def test_only_leftovers_are_removed(tmp_path):
    kept = [tmp_path / name for name in ("a.partial", ".hidden", "b.pt", "deep/.c.partial")]
    (tmp_path / "deep").mkdir()
    for path in [*kept, tmp_path / f".a.pt.0{PARTIAL_SUFFIX}"]:
        path.touch()
    remove_partials(tmp_path)
    remove_partials(tmp_path)  # nothing left to do
    assert sorted(p for p in tmp_path.rglob("*") if p.is_file()) == sorted(kept)
