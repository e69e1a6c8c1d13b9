"""The cache gives what was computed, until something that decides it is another."""

import joblib
import pandas as pd
import pytest

from research import cache


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A project of two modules, the first of which imports the second."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "study.py").write_text("from tools.law import law\n")
    law = tmp_path / "tools" / "law.py"
    law.write_text("law = 1\n")
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    cache._code.cache_clear()
    yield law
    cache._code.cache_clear()


def ask(folder, *keys):
    cache._code.cache_clear()
    calls = []
    found = cache.kept(folder, lambda: calls.append(1) or pd.DataFrame({"x": [1]}), "study", *keys)
    pd.testing.assert_frame_equal(found, pd.DataFrame({"x": [1]}))
    return len(calls)


def test_computed_once_for_each_key(project, tmp_path):
    assert [ask(tmp_path, *keys) for keys in (("a", 1), ("a", 1), ("a", 2))] == [1, 0, 1]


def test_other_code_is_asked_again_other_words_are_not(project, tmp_path):
    assert ask(tmp_path) == 1
    project.write_text('"""The law."""\n\nlaw = 1  # as it stands\n')
    assert ask(tmp_path) == 0
    project.write_text("law = 2\n")
    assert ask(tmp_path) == 1


def test_a_killed_computation_leaves_nothing(project, tmp_path, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(joblib, "dump", killed)
        ask(tmp_path / "kept")
    assert not list((tmp_path / "kept").iterdir())
    assert ask(tmp_path / "kept") == 1


def test_data_are_known_by_their_rows():
    index = pd.DataFrame({"file": ["a", "b"], "sha256": ["0", "1"]})
    assert cache.fingerprint(index) == cache.fingerprint(index.copy())
    assert cache.fingerprint(index) != cache.fingerprint(index.assign(sha256=["0", "2"]))
    assert cache.fingerprint(index) != cache.fingerprint(index.head(1))


def test_the_code_of_every_row_decides_what_a_cell_is():
    found = cache.sources("research.rows.cells")
    assert {f"research.rows.{name}" for name in ("features", "graph", "own", "weights")} <= {*found}
    assert "research.rows.judge" not in found
