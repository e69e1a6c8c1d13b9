"""The digits subject: its networks, its metrics, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from epsvae.conformance import check
from epsvae.errors import SubjectError
from epsvae.subject import permuted
from epsvae.subjects.digits import (
    N_BINS,
    SIDE,
    Digits,
    calibration_error,
    certainty,
    convolutional,
    load_images,
    perceptron,
    shifted,
)

pytestmark = pytest.mark.numbers

NETWORKS = [(perceptron, 5), (perceptron, 12), (convolutional, 2), (convolutional, 5)]


@pytest.fixture(scope="module")
def digits():
    return Digits()


def state_of(make, width, seed=0):
    generator = torch.Generator().manual_seed(seed)
    state = make(width).state_dict()
    return {name: 0.3 * torch.randn(t.shape, generator=generator) for name, t in state.items()}


def draw_answers(seed, n=200):
    generator = torch.Generator().manual_seed(seed)
    answers = 3 * torch.randn(n, 10, generator=generator)
    return answers, torch.randint(10, (n,), generator=generator)


def test_no_image_both_trains_and_evaluates():
    images = load_images()
    assert images.training.shape == (1000, 1, 8, 8)
    assert images.inputs.shape == (797, 1, 8, 8)
    together = torch.cat([images.training, images.inputs]).flatten(1)
    assert together.amin() == 0
    assert together.amax() == 1
    assert len(together.unique(dim=0)) == len(together)
    assert images.targets[:12].tolist() == [9, 9, 9, 1, 0, 7, 5, 1, 0, 3, 9, 7]  # the split stays
    assert set(images.targets.tolist()) == set(images.training_labels.tolist()) == set(range(10))


@given(st.integers(-2, 2), st.integers(-2, 2), st.integers(2, 5), st.integers(2, 5))
def test_a_pixel_moves_by_the_shift(down, right, row, column):
    image = torch.zeros(1, SIDE, SIDE)
    image[0, row, column] = 1.0
    assert shifted(image, down, right).nonzero().tolist() == [[0, row + down, column + right]]


def test_what_comes_in_is_black():
    moved = shifted(torch.ones(2, SIDE, SIDE), 0, 1)
    assert moved[..., 0].eq(0).all()
    assert moved[..., 1:].eq(1).all()


@pytest.mark.parametrize(("make", "width"), NETWORKS)
def test_a_state_comes_back_from_its_network(digits, make, width):
    state, before = state_of(make, width), torch.random.get_rng_state()
    module = digits.build(state)
    assert torch.equal(torch.random.get_rng_state(), before)  # building draws nothing
    assert not module.training
    found = module.state_dict()
    assert set(found) == set(state)
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert all(found[name].data_ptr() != state[name].data_ptr() for name in state)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"head.bias": None}, r"head.bias: expected shape \(10,\), found nothing"),
        ({"third.bias": torch.zeros(3)}, r"third.bias: expected nothing, found shape \(3,\)"),
        ({"second.weight": torch.zeros(5, 6)}, r"expected shape \(5, 5\), found shape \(5, 6\)"),
        ({"head.bias": torch.zeros(10).long()}, r"head.bias: .*found shape \(10,\) of torch.int64"),
        ({"first.weight": None}, "expected first.weight with 2 axes .* found nothing"),
        ({"first.weight": torch.zeros(5, 64, 1)}, r"2 axes .* or 4 .* found shape \(5, 64, 1\)"),
    ],
)
def test_what_does_not_fit_is_refused_by_name(digits, change, message):
    state = {n: t for n, t in (state_of(perceptron, 5) | change).items() if t is not None}
    with pytest.raises(SubjectError, match=message):
        digits.build(state)


def test_stacked_answers_are_the_single_ones(digits):
    for make, width in NETWORKS:
        states = [state_of(make, width, seed) for seed in range(3)]
        single = [digits.answer(digits.build(s), digits.inputs[:9]) for s in states]
        stacked = digits.answer_stack(states, digits.inputs[:9])
        assert stacked.shape == (3, 9, 20)
        torch.testing.assert_close(stacked, torch.stack(single), atol=1e-4, rtol=1e-4)
    mixed = digits.answer_stack([state_of(*network) for network in NETWORKS], digits.inputs[:9])
    assert mixed.shape == (4, 9, 20)


@pytest.mark.parametrize(("make", "width"), NETWORKS)
def test_hidden_units_may_change_places(digits, make, width):
    state = state_of(make, width)
    expected = digits.answer(digits.build(state), digits.inputs[:9])
    for units in digits.symmetry:
        name, axis = units.axes[0]
        other = permuted(state, units, torch.arange(state[name].shape[axis]).flip(0))
        assert not torch.equal(other[name], state[name])
        found = digits.answer(digits.build(other), digits.inputs[:9])
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_perfect_logits_have_perfect_metrics(digits):
    logits = 50.0 * F.one_hot(digits.targets, 10)
    items = digits.items(logits.repeat(1, 2), digits.targets)
    assert items["accuracy"].eq(1).all()
    assert items["shifted_accuracy"].eq(1).all()
    assert items["nll"].amax() < 1e-6
    assert calibration_error(logits, digits.targets) < 1e-6


def test_a_network_that_says_nothing_is_at_chance(digits):
    metrics = digits.measure(digits.build({n: 0 * t for n, t in state_of(perceptron, 5).items()}))
    share = float((digits.targets == 0).float().mean())  # the first of equals is the guess
    assert metrics["accuracy"] == pytest.approx(share)
    assert metrics["nll"] == pytest.approx(torch.tensor(10.0).log().item())
    assert metrics["calibration_error"] == pytest.approx(abs(share - 0.1), abs=1e-6)
    assert metrics["shifted_accuracy"] == pytest.approx(share)


@pytest.mark.parametrize(("make", "width"), NETWORKS)
def test_metrics_are_within_their_ranges_and_means_of_items(digits, make, width):
    module = digits.build(state_of(make, width))
    metrics = digits.measure(module)
    assert set(metrics) == {metric.name for metric in digits.metrics}
    for metric in digits.metrics:
        assert metric.low <= metrics[metric.name] <= metric.high
    answers = digits.answer(module, digits.inputs).detach()
    for name, scores in digits.items(answers, digits.targets).items():
        assert metrics[name] == pytest.approx(float(scores.mean()), rel=1e-5)


@given(st.integers(0, 1000))
def test_the_calibration_error_is_that_of_its_formula(seed):
    """Oracle: bin by bin, as it is written down."""
    answers, targets = draw_answers(seed)
    confidence, guess = answers.softmax(1).max(1)
    total = 0.0
    for k in range(N_BINS):
        inside = (confidence > k / N_BINS) & (confidence <= (k + 1) / N_BINS)
        if inside.any():
            accuracy = (guess == targets)[inside].float().mean()
            total += float(inside.sum() * (accuracy - confidence[inside].mean()).abs())
    assert calibration_error(answers, targets) == pytest.approx(total / len(answers), abs=1e-4)


@given(st.integers(0, 1000))
def test_features_are_what_they_say(digits, seed):
    (answers, targets), (moved, _) = draw_answers(seed, n=20), draw_answers(seed + 1, n=20)
    both = torch.cat([answers, moved], 1)
    features, items = digits.features(both, targets), digits.items(both, targets)
    loss, margin, right, confidence, correct = features[:, :5].T
    torch.testing.assert_close(loss, items["nll"], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(correct, items["accuracy"])
    torch.testing.assert_close(features[:, 9], items["shifted_accuracy"])
    torch.testing.assert_close(right, answers.softmax(1)[torch.arange(20), targets])
    assert (confidence >= right - 1e-6).all()
    assert ((margin > 0) == (correct > 0)).all()


def test_features_of_huge_logits_are_finite():
    answers, targets = draw_answers(0)
    assert certainty(1e6 * answers, targets).isfinite().all()


def test_the_second_half_of_an_answer_is_that_of_the_shifted_image(digits):
    module = digits.build(state_of(convolutional, 3))
    answers = digits.answer(module, digits.inputs[:9])
    assert not torch.equal(answers[:, :10], answers[:, 10:])
    torch.testing.assert_close(answers[:, 10:], module(shifted(digits.inputs[:9])))


def test_it_keeps_its_side_of_the_seam(digits):
    assert check(digits) == []
