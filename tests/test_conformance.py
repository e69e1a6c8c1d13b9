"""The conformance suite names each fault, with its mend, and finds none in sound subjects."""

import re
from pathlib import Path

import pytest
import torch
from torch import nn

import epsvae
from epsvae.loading import load_subject
from epsvae.subject import Metric, Units, check

BLOBS = Path(__file__).with_name("toys") / "blobs.py"


def faults_with(**parts):
    """What is found in the sound toy with some parts replaced."""
    sound = load_subject(BLOBS)
    return check(type("Broken", (type(sound),), parts)())


def wrap(change):
    """A build whose module answers as `change` makes of its answer."""

    def build(self, state):
        module = load_subject(BLOBS).build(state)
        module.register_forward_hook(lambda module, inputs, output: change(output))
        return module

    return build


def in_training(self, state):
    return load_subject(BLOBS).build(state).train()


def lenient(self, state):
    net = nn.Sequential(nn.Linear(2, 8), nn.Tanh(), nn.Linear(8, 3))
    own = net.state_dict()
    fits = {n: t for n, t in state.items() if n in own and own[n].shape == t.shape}
    net.load_state_dict(own | fits)
    return net.eval()


def measured(**values):
    return lambda self, module: {"accuracy": 0.4, "nll": 1.0, "confidence": 0.5} | values


def leaves_gradients(self, module):
    module(self.inputs).sum().backward()
    return type(self).__mro__[1].measure(self, module)


def switches_gradients(self, module):
    torch.set_grad_enabled(False)
    return type(self).__mro__[1].measure(self, module)


def draws(self, module):
    torch.rand(3)
    return type(self).__mro__[1].measure(self, module)


def changes_state(self, state):
    state["0.bias"].mul_(0.9)
    return load_subject(BLOBS).build(state)


def items_of(**changed):
    def items(self, answers, targets):
        sound = load_subject(BLOBS).items(answers, targets)
        return {k: changed[k](v) if k in changed else v for k, v in sound.items()}

    return items


def branches(self, module, inputs):
    answers = module(inputs)
    return answers if answers.mean() > 100 else -answers


FAULTS = {
    "an answer without rows": ({"answer": lambda s, m, x: m(x).sum(0)}, "flatten"),
    "no tensor": ({"answer": lambda s, m, x: m(x).tolist()}, "must give a tensor"),
    "whole numbers": ({"answer": lambda s, m, x: m(x).argmax(1)[:, None]}, "float"),
    "varying length": ({"answer": lambda s, m, x: m(x) @ torch.ones(3, len(x))}, "length"),
    "not finite": ({"build": wrap(lambda y: y / 0)}, "NaN or infinity"),
    "not deterministic": ({"build": wrap(lambda y: y + torch.randn(3))}, "when asked again"),
    "training mode": ({"build": in_training}, r"module.eval\(\)"),
    "normalised by batch": ({"build": wrap(lambda y: y - y.mean(0))}, "depends on which others"),
    "no module": ({"build": lambda s, state: dict(state)}, "torch.nn.Module"),
    "build raises": ({"build": lambda s, state: state["no.such"]}, "build.*KeyError.*no.such"),
    "lenient build": ({"build": lenient}, "lacks 0.weight.*strictly"),
    "features without rows": (
        {"features": lambda s, a, t: a.mean(0)},
        "features must give one row",
    ),
    "features not finite": ({"features": lambda s, a, t: a / 0}, "clamp_min"),
    "features too wide": ({"features": lambda s, a, t: a.repeat(1, 40)}, "at most 64"),
    "unknown metric": ({"measure": measured(loss=1.0)}, "gives loss, not declared"),
    "missing metric": ({"measure": lambda s, m: {"accuracy": 0.4}}, "leaves out nll, confidence"),
    "outside its range": ({"measure": measured(nll=-1.0)}, "nll = -1, outside its declared range"),
    "metric NaN": ({"measure": measured(nll=float("nan"))}, "nll = nan, outside"),
    "measure draws": ({"measure": draws}, "global random generator"),
    "measure leaves gradients": ({"measure": leaves_gradients}, "leaves gradients"),
    "measure switches gradients": ({"measure": switches_gradients}, "switches gradients"),
    "items disagree": ({"items": items_of(nll=lambda v: 2 * v), "measure": measured()}, "exactly"),
    "items of one number": (
        {"items": items_of(nll=torch.mean), "measure": measured()},
        "one score",
    ),
    "items not declared": ({"metrics": (Metric("accuracy", 0, 1),)}, "no declared metric"),
    "items not finite": ({"items": items_of(nll=lambda v: v / 0), "measure": measured()}, "NaN"),
    "no symmetry": ({"symmetry": (Units((("0.weight", 0),)),)}, "changes the answers"),
    "symmetry unknown": ({"symmetry": (Units((("9.weight", 0),)),)}, "9.weight"),
    "symmetry of two sizes": (
        {"symmetry": (Units((("0.weight", 0), ("0.weight", 1))),)},
        r"sizes \[2, 8\]",
    ),
    "branches": ({"answer": branches}, "stacks = False"),
    "changes the state": ({"build": changes_state}, "copy what it changes"),
    "no example": ({"example": lambda s: None}, "example.* to give a state dict"),
    "no metrics": ({"metrics": ()}, "expected metrics"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_mend(fault):
    parts, said = FAULTS[fault]
    found = faults_with(**parts)
    assert found
    assert any(re.search(said, sentence) for sentence in found), found


@pytest.mark.parametrize("toy", ["blobs", "tones"])
def test_sound_subjects_have_no_fault(toy):
    subject = load_subject(BLOBS.with_name(f"{toy}.py"))
    assert epsvae.check(subject) == []
    assert check(subject, [subject.example()] * 2) == []


def test_a_branching_answer_is_mended_by_one_attribute():
    assert faults_with(answer=branches, stacks=False) == []


def test_nothing_is_left_changed():
    before = torch.random.get_rng_state()
    faults_with(measure=switches_gradients)
    assert torch.is_grad_enabled()
    faults_with()
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_full_evaluation_runs_once_a_checkpoint_and_is_repeated_for_the_first():
    sound, calls = load_subject(BLOBS), []

    def measure(self, module):
        calls.append(module)
        return type(sound).measure(self, module)

    kind = type("Counted", (type(sound),), {"measure": measure})
    assert check(kind(), [sound.example()] * 3) == []
    assert len(calls) == 4
