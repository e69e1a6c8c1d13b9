"""The seam: links, stacks, symmetry."""

import math
from pathlib import Path

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given

from epsvae.errors import SubjectError
from epsvae.loading import load_subject
from epsvae.subject import Metric, Subject, permuted

TOYS = Path(__file__).with_name("toys")
RANGES = [(0.0, 1.0), (-1.0, 1.0), (-3.0, 7.0), (0.0, math.inf), (-math.inf, 2.0)]


@pytest.mark.parametrize("low,high", [*RANGES, (-math.inf, math.inf)])
@given(share=st.floats(0.01, 0.99))
def test_unlink_undoes_link(low, high, share):
    metric = Metric("m", low, high)
    start = low if math.isfinite(low) else high - 5 if math.isfinite(high) else -5.0
    end = high if math.isfinite(high) else start + 5
    value = torch.tensor([start + share * (end - start)])
    torch.testing.assert_close(metric.unlink(metric.link(value)), value, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("low,high", RANGES)
@given(linked=st.floats(-60, 60))
def test_what_is_predicted_lies_in_the_range(low, high, linked):
    value = float(Metric("m", low, high).unlink(torch.tensor(linked)))
    assert low <= value <= high


@pytest.mark.parametrize("low,high", [*RANGES, (-math.inf, math.inf)])
def test_the_ends_have_a_finite_link_in_order(low, high):
    ends = [end for end in (low, 0.5, high) if math.isfinite(end)]
    linked = Metric("m", low, high).link(torch.tensor(ends))
    assert linked.isfinite().all()
    assert (linked.diff() > 0).all()


@pytest.mark.parametrize("toy", ["blobs", "tones"])
@pytest.mark.parametrize("stacks", [True, False])
def test_networks_answer_together_as_one_by_one(toy, stacks, monkeypatch):
    subject = load_subject(TOYS / f"{toy}.py")
    monkeypatch.setattr(type(subject), "stacks", stacks)
    state = subject.example()
    states = [{name: scale * t for name, t in state.items()} for scale in (0.5, 1.0, 2.0)]
    together = subject.answer_stack(states, subject.inputs[:20])
    with torch.no_grad():
        alone = [subject.answer(subject.build(s), subject.inputs[:20]) for s in states]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-4, atol=1e-5)
    assert not together.requires_grad


def test_networks_of_several_widths_answer_in_one_call():
    subject = load_subject(TOYS / "blobs.py")
    wide = subject.example()
    narrow = {"0.weight": wide["0.weight"][:3], "0.bias": wide["0.bias"][:3]}
    narrow |= {"2.weight": wide["2.weight"][:, :3], "2.bias": wide["2.bias"]}
    assert subject.answer_stack([wide, narrow], subject.inputs[:4]).shape == (2, 4, 3)


def test_reordered_units_compute_the_same():
    subject = load_subject(TOYS / "blobs.py")
    state, order = subject.example(), torch.randperm(8, generator=torch.Generator().manual_seed(0))
    moved = permuted(state, subject.symmetry[0], order)
    assert not torch.equal(moved["0.weight"], state["0.weight"])
    together = subject.answer_stack([state, moved], subject.inputs[:20])
    torch.testing.assert_close(together[0], together[1], rtol=1e-4, atol=1e-5)


def test_the_default_measure_is_the_mean_of_items():
    subject = load_subject(TOYS / "blobs.py")
    measured = subject.measure(subject.build(subject.example()))
    assert list(measured) == ["accuracy", "nll", "confidence"]
    assert all(m.low <= measured[m.name] <= m.high for m in subject.metrics)


def test_an_unknown_metric_and_a_missing_example_say_so():
    subject = load_subject(TOYS / "blobs.py")
    assert subject.metric("nll").better == "lower"
    with pytest.raises(SubjectError, match="accuracy, nll, confidence, found 'loss'"):
        subject.metric("loss")
    with pytest.raises(SubjectError, match="give a checkpoint"):
        Subject().example()
