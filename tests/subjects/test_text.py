"""The text subject: causal, strict, the same one by one and together; its skills by hand."""

import math

import pytest
import torch
from torch import nn

from epsvae.conformance import check
from epsvae.errors import SubjectError
from epsvae.subject import permuted
from epsvae.subjects import source_text
from epsvae.subjects.source_text import OTHER, VOCABULARY, corpus, encode, source_files, windows
from epsvae.subjects.text import COLUMNS, CONTEXT, Text, Transformer, closing, copying

pytestmark = pytest.mark.numbers

CLOSE = {"rtol": 0.0, "atol": 1e-4}


@pytest.fixture(scope="module")
def subject():
    return Text(256)


def network(width=24, seed=0):
    generator = torch.Generator().manual_seed(seed)
    module = Transformer(width)
    with torch.no_grad():
        for tensor in module.parameters():
            tensor.normal_(0, tensor.shape[-1] ** -0.5, generator=generator)
    return module


def marked(text, mask):
    """The characters that a mask over positions from the second on points at."""
    return "".join(c for c, m in zip(text[1:], mask[0].tolist(), strict=True) if m)


class Says(nn.Module):
    """Finds one character likeliest everywhere, with e times the weight of any other."""

    def __init__(self, character):
        super().__init__()
        self.row = torch.zeros(VOCABULARY)
        self.row[encode(character)] = 1.0

    def forward(self, x):
        return self.row.expand(*x.shape, -1)


def test_symbols():
    assert encode("\n a~é\t").tolist() == [0, 1, 66, 95, OTHER, OTHER]


def test_parts_of_the_text_share_no_file():
    train, held = source_files("train"), source_files("held")
    assert not set(train) & set(held)
    assert len(held) == -(-(len(train) + len(held)) // source_text.HELD_EVERY)


def test_windows_are_of_the_text_and_spread_over_it():
    symbols = torch.arange(10_000)
    found = windows(symbols, 100, 33)
    assert (found.diff(dim=1) == 1).all()
    assert len(found[:, 0].unique()) == 100
    quarter = found[:25, 0].sort().values  # any leading part is spread
    assert quarter.diff().max() < 1000


def test_another_version_of_the_corpus_is_refused(monkeypatch):
    monkeypatch.setattr("importlib.metadata.version", lambda name: "0.1")
    corpus.cache_clear()
    with pytest.raises(SubjectError, match=r"expected scikit-learn 1\.9\.1.*found 0\.1"):
        corpus("held")


def test_a_changed_file_of_the_corpus_is_refused(monkeypatch, tmp_path):
    changed = tmp_path / "changed.py"
    changed.write_text("import this\n")
    monkeypatch.setattr(source_text, "source_files", lambda part: [changed])
    corpus.cache_clear()
    with pytest.raises(SubjectError, match="SHA-256"):
        corpus("held")


def test_later_characters_change_no_earlier_logits(subject):
    module, x = network(), subject.inputs[:4, :-1]
    changed = x.clone()
    changed[:, 20] = (changed[:, 20] + 1) % VOCABULARY
    with torch.no_grad():
        before, after = module(x), module(changed)
    torch.testing.assert_close(before[:, :20], after[:, :20], **CLOSE)
    assert (before[:, 20:] - after[:, 20:]).abs().amax((0, 2)).min() > 1e-3  # all later ones


@pytest.mark.parametrize("width", [16, 24, 32])
def test_a_network_is_its_state(subject, width):
    state = network(width).state_dict()
    built = subject.build(state)
    assert not built.training
    assert all(torch.equal(state[name], tensor) for name, tensor in built.state_dict().items())


def test_building_draws_no_random_numbers(subject):
    state = network().state_dict()
    before = torch.random.get_rng_state()
    subject.build(state)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda s: s.pop("characters.weight"), r"characters\.weight: .*found none"),
        (lambda s: s.pop("blocks.1.up.bias"), r"blocks\.1\.up\.bias: expected \(96,\).*no entry"),
        (
            lambda s: s.update({"blocks.2.up.bias": torch.zeros(96)}),
            r"blocks\.2\.up\.bias: expected no such entry",
        ),
        (lambda s: s.update(extra=torch.zeros(2)), "extra: expected no such entry"),
        (
            lambda s: s.update(places=torch.zeros(64, 24)),
            r"places: .*\(32, 24\), found .*\(64, 24\)",
        ),
        (lambda s: s.update(places=s["places"].long()), r"places: .*found torch\.int64"),
        (
            lambda s: s.update({"characters.weight": torch.zeros(VOCABULARY, 25)}),
            r"characters\.weight: .*found \(97, 25\)",
        ),
    ],
)
def test_a_wrong_state_is_refused_by_name(subject, change, message):
    state = network().state_dict()
    change(state)
    with pytest.raises(SubjectError, match=message):
        subject.build(state)


def test_stacked_answers_are_the_single_ones(subject):
    states = [network(seed=seed).state_dict() for seed in range(3)]
    together = subject.answer_stack(states, subject.inputs[:40])
    with torch.no_grad():
        single = [subject.answer(subject.build(s), subject.inputs[:40]) for s in states]
    torch.testing.assert_close(together, torch.stack(single), **CLOSE)


def test_hidden_units_may_be_reordered(subject):
    state = network().state_dict()
    other = state
    for units in subject.symmetry:
        size = state[units.axes[0][0]].shape[0]
        other = permuted(other, units, torch.arange(size).flip(0))
    answers = subject.answer_stack([state, other], subject.inputs[:20])
    torch.testing.assert_close(answers[0], answers[1], **CLOSE)


def test_closing_brackets_are_asked_for():
    text = ")f(x[i]) = {}"
    assert marked(text, closing(encode(text)[None])) == "])}"


@pytest.mark.parametrize(
    "text, copied",
    [
        ("scaler = scale(scaler)", "leler"),  # from the fourth character: scale-, scaler
        ("abc abc abc", ""),  # no fourth character
        ("self.x = self.y", "f"),
        ("my_name, my_nation", "na"),  # as long as the beginning is the same
        ("score xscore", ""),  # another word, though it ends alike
        ("values\nvalu", "u"),  # cut off by the window
    ],
)
def test_copying(text, copied):
    assert marked(text, copying(encode(text)[None])) == copied


def test_skills_are_shares_of_the_characters_that_ask(subject):
    metrics = subject.measure(Says(")"))
    right = subject.inputs[:, 1:]
    brackets = sum((right == encode(c)).sum() for c in ")]}")
    assert metrics["closing"] == pytest.approx(float((right == encode(")")).sum() / brackets))
    assert metrics["copying"] == 0.0
    share = (right == encode(")")).double().mean().item()
    expected = math.log2(math.e + VOCABULARY - 1) - share * math.log2(math.e)
    assert metrics["bits"] == pytest.approx(expected, abs=1e-4)


def test_columns(subject):
    module = network()
    with torch.no_grad():
        answers = subject.answer(module, subject.inputs)
        logits = module(subject.inputs[:, :-1])
    column = dict(zip(COLUMNS, answers.T, strict=True))
    likely, entropy = logits.softmax(-1), torch.distributions.Categorical(logits=logits).entropy()
    torch.testing.assert_close(column["confidence"], likely.amax(-1).mean(1), **CLOSE)
    torch.testing.assert_close(column["entropy"], entropy.mean(1) / math.log(2), **CLOSE)
    own = -likely.gather(-1, subject.inputs[:, 1:, None]).squeeze(-1).log2()
    torch.testing.assert_close(column["bits"], own.mean(1), **CLOSE)
    torch.testing.assert_close(column["bits, last quarter"], own[:, -8:].mean(1), **CLOSE)
    hit = logits.argmax(-1) == subject.inputs[:, 1:]
    torch.testing.assert_close(column["right"], hit.float().mean(1), **CLOSE)


def test_items_are_the_metric(subject):
    module = network()
    with torch.no_grad():
        answers = subject.answer(module, subject.inputs)
    items = subject.items(answers, subject.targets)
    assert float(items["bits"].mean()) == pytest.approx(subject.measure(module)["bits"], abs=1e-4)


def test_the_full_evaluation_is_large():
    full = Text()
    assert full.inputs.shape == (20_000, CONTEXT + 1)
    assert full.inputs.max() < VOCABULARY
    assert full.targets.sum(0).min() > 3_000  # characters that ask for a skill


def test_it_keeps_its_side_of_the_seam(subject):
    assert check(subject) == []
