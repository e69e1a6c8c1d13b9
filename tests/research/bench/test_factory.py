"""The factory's benchmarks run and say what they timed; their figures decide nothing here."""

from pathlib import Path

import pytest

from epsvae.subjects.ternary.map.files import load_epsilon_vae
from research.bench import benchmark, factory, time_calls
from research.ternary.factory import train_base
from research.ternary.recipes import BaseRecipe

MAP = Path(__file__).resolve().parents[3] / "data" / "reference" / "aligned" / "map.pt"


def test_a_timing_is_ordered_and_counts_every_repeat() -> None:
    calls: list[int] = []
    timing = time_calls(lambda: calls.append(1), repeats=5)
    assert len(calls) == 6
    assert 0 <= timing.low <= timing.median <= timing.high


def test_every_regime_is_timed_beside_the_plain_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factory, "STEPS", 1)
    monkeypatch.setattr(factory, "STACK_SIZE", 2)
    base = train_base(BaseRecipe(max_steps=1, target_coverage=0.0))
    monkeypatch.setattr(factory, "train_base", lambda _: base)
    monkeypatch.setattr(factory, "N_POINTS", 2)
    table = benchmark(n_jobs=1, model=load_epsilon_vae(MAP))
    assert list(table.columns) == ["what", "milliseconds", "low", "high", "note"]
    for regime in factory.REGIMES:
        assert table["what"].str.startswith(f"{regime}: plain loop").sum() == 1
        assert table["what"].str.startswith(f"{regime}: stacked").sum() == 2
    assert table["what"].str.startswith("a virtual checkpoint").sum() == 1
    assert (table[["milliseconds", "low", "high"]] > 0).all(axis=None)
