"""Does a subject keep its side of the seam? Each fault in a plain sentence, with its mend.

In the manner of scikit-learn's `check_estimator`, it asks everything that a map relies on.
"""

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from epsvae.errors import SubjectError
from epsvae.loading import check_parts
from epsvae.subject import State, Subject, permuted
from epsvae.users_code import UsersCode

N_INPUTS = 8
"""Inputs that most checks ask."""
CLOSE = 1e-4
"""Two answers agree if they differ by less, as a share of the largest answer."""
MEANS_CLOSE = 1e-3
"""The same for a metric and the mean of its items, as a share of the metric's size or of 1."""
MOST_STATES = 4
"""Checkpoints that are tried: they are to show faults of the subject, not their own."""
WIDEST = 64
"""Features of one input beyond which summaries grow slow and are learned by heart."""


def check(subject: Subject, states: Sequence[State] = ()) -> list[str]:
    """What is wrong with a subject, in sentences that say how to mend it; none if all is well.

    `states` are checkpoints to try, by default the subject's `example()`. All that the subject
    defines is called; what it raises is a fault too.
    """
    try:
        check_parts("subject", subject)
        # Both are restored, whatever is called.
        with torch.set_grad_enabled(torch.is_grad_enabled()), torch.random.fork_rng(devices=[]):
            tried = list(states)[:MOST_STATES] or [_example(subject)]
            faults = [
                fault
                for place, state in enumerate(tried)
                for fault in _faults(subject, state, QUESTIONS if place == 0 else LATER_QUESTIONS)
            ]
    except SubjectError as error:
        return [str(error)]
    return list(dict.fromkeys(faults))


def _example(subject: Subject) -> State:
    with UsersCode("subject", "example() to give a state dict"):
        state = subject.example()
    if isinstance(state, Mapping) and all(isinstance(t, Tensor) for t in state.values()):
        return state
    found = type(state).__name__
    raise SubjectError(f"subject: expected example() to give a state dict, found {found}")


def _faults(subject: Subject, state: State, questions: Mapping[str, "Question"]) -> Iterator[str]:
    """Faults seen with one checkpoint; where a later question makes no sense, it is not asked."""
    kept = {name: tensor.clone() for name, tensor in state.items()}
    with UsersCode("subject", "build(state) to work"):
        module = subject.build(state)
    if not isinstance(module, nn.Module):
        yield f"build(state) must give a torch.nn.Module; it gives {type(module).__name__}."
        return
    with UsersCode("subject", "answer(module, inputs) to work"):
        faults = list(_of_answers(subject, module))
    yield from faults
    if faults:
        return
    for part, question in questions.items():
        with UsersCode("subject", f"{part} to work"):
            yield from list(question(subject, module, state))
    if any(not torch.equal(state[name], tensor) for name, tensor in kept.items()):
        yield "The subject changes the state dict that it is given; copy what it changes."


def _inputs(subject: Subject) -> tuple[Tensor, Tensor | None]:
    targets = subject.targets
    return subject.inputs[:N_INPUTS], None if targets is None else targets[:N_INPUTS]


def _answers(subject: Subject, module: nn.Module) -> Any:
    with torch.no_grad():
        return subject.answer(module, _inputs(subject)[0])


def _of_answers(subject: Subject, module: nn.Module) -> Iterator[str]:
    inputs, n = subject.inputs, len(_inputs(subject)[0])
    if training := [name or "the module" for name, m in module.named_modules() if m.training]:
        yield (
            f"build(state) leaves {training[0]} in training mode, so that dropout and batch norm "
            "change the answers; end it with `return module.eval()`."
        )
    answers = _answers(subject, module)
    if not isinstance(answers, Tensor):
        yield f"answer(module, inputs) must give a tensor; it gives {type(answers).__name__}."
        return
    if answers.ndim != 2 or len(answers) != n:
        yield (
            f"answer(module, inputs) must give one row of numbers for each of {n} inputs, shape "
            f"({n}, k); it gives {tuple(answers.shape)}. `answers.flatten(1)` makes rows."
        )
        return
    if not answers.is_floating_point():
        yield f"answer must give floats; it gives {answers.dtype}. `answers.float()` mends it."
        return
    with torch.no_grad():
        fewer = subject.answer(module, inputs[: n // 2])
    if fewer.shape[1:] != answers.shape[1:]:
        yield (
            f"The length of an answer must not depend on how many are asked; it is "
            f"{answers.shape[1]} for {n} inputs, {tuple(fewer.shape[1:])} for {n // 2}."
        )
        return
    if not answers.isfinite().all():
        yield "answer gives NaN or infinity for a checkpoint whose weights are finite."
        return
    if not _agree(answers, _answers(subject, module)):
        yield (
            "The same inputs get other answers when asked again; take every random draw out of "
            "forward and answer, or draw it from a generator with a fixed seed."
        )
    elif not _agree(answers[: n // 2], fewer):
        yield (
            "The answer to an input depends on which others are asked with it; normalise by "
            "stored statistics (batch norm in evaluation mode), not by those of the batch."
        )


def _of_features(subject: Subject, module: nn.Module, state: State) -> Iterator[str]:
    answers, (inputs, targets) = _answers(subject, module), _inputs(subject)
    features = subject.features(answers, targets)
    n = len(inputs)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != n:
        found = tuple(features.shape) if isinstance(features, Tensor) else type(features).__name__
        yield f"features must give one row for each of {n} inputs, shape ({n}, f); found {found}."
    elif not features.isfinite().all():
        yield "features gives NaN or infinity; a logarithm may need `.clamp_min(1e-6)`."
    elif type(subject).features is not Subject.features and features.shape[1] > WIDEST:
        yield (
            f"features gives {features.shape[1]} numbers for each input; give at most {WIDEST} "
            "that mean the same for every input: a loss, a margin, a confidence, a level."
        )


def _of_metrics(
    subject: Subject, module: nn.Module, state: State, repeat: bool = True
) -> Iterator[str]:
    """Faults of the full evaluation, which is most of the time that all this takes."""
    measured = yield from _measured(subject, module)
    if not isinstance(measured, Mapping):
        yield f"measure must give metrics by name; it gives {type(measured).__name__}."
        return
    declared = [metric.name for metric in subject.metrics]
    if missing := [name for name in declared if name not in measured]:
        yield f"measure leaves out {', '.join(missing)}, which the subject declares; add it."
    if extra := [name for name in measured if name not in declared]:
        yield f"measure gives {', '.join(extra)}, not declared; add a Metric, or drop it."
    for metric in subject.metrics:
        value = float(measured.get(metric.name, metric.low))
        if not metric.low <= value <= metric.high:
            yield (
                f"measure gives {metric.name} = {value:g}, outside its declared range "
                f"[{metric.low:g}, {metric.high:g}]; mend either."
            )
    again = subject.measure(module) if repeat else measured
    for name in set(declared) & set(measured):
        if not _near(float(measured[name]), float(again[name])):
            yield (
                f"measure gives {name} = {float(measured[name]):g}, then {float(again[name]):g} "
                "for the same module; fix its random draws, by a generator made inside measure."
            )
    yield from _of_items(subject, module, measured)


def _of_items(subject: Subject, module: nn.Module, measured: Mapping[str, float]) -> Iterator[str]:
    inputs, targets = subject.inputs, subject.targets
    with torch.no_grad():
        items = subject.items(subject.answer(module, inputs), targets)
    for name, scores in items.items():
        if name not in [metric.name for metric in subject.metrics]:
            yield f"items gives {name}, which is no declared metric; add a Metric, or drop it."
        elif not isinstance(scores, Tensor) or scores.shape != (len(inputs),):
            found = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
            yield (
                f"items must give {name} as one score for each input, shape ({len(inputs)},); "
                f"found {found}."
            )
        elif not scores.float().isfinite().all():
            yield f"items gives NaN or infinity for {name}."
        elif name in measured and not _near(mean := float(scores.float().mean()), measured[name]):
            yield (
                f"The mean of items over all inputs is {name} = {mean:.6g}, but measure gives "
                f"{float(measured[name]):.6g}; items are for metrics that are exactly such a "
                "mean: mend either, or leave this one out of items."
            )


def _of_stack(subject: Subject, module: nn.Module, state: State) -> Iterator[str]:
    inputs = _inputs(subject)[0]
    other = {n: t * 1.01 if t.is_floating_point() else t for n, t in state.items()}
    mend = "set `stacks = False` in the subject, and each network runs by itself."
    try:
        with UsersCode("subject", "two networks to run together"):
            together = subject.answer_stack([state, other], inputs)
    except SubjectError as error:
        yield f"{error}. If it cannot run under torch.func.vmap, {mend}"
        return
    with torch.no_grad():
        alone = [subject.answer(subject.build(one), inputs) for one in (state, other)]
    if together.shape != (2, *alone[0].shape):
        yield (
            f"answer_stack must give (checkpoints, inputs, answers) = {(2, *alone[0].shape)}; "
            f"it gives {tuple(together.shape)}."
        )
    elif not all(_agree(a, b) for a, b in zip(together, alone, strict=True)):
        yield f"Two networks that run together answer otherwise than one by one; {mend}"


def _of_symmetry(subject: Subject, module: nn.Module, state: State) -> Iterator[str]:
    answers = _answers(subject, module)
    generator = torch.Generator().manual_seed(0)
    for units in subject.symmetry:
        missing = [
            f"{name} (dimension {axis})"
            for name, axis in units.axes
            if name not in state or axis >= state[name].ndim
        ]
        if missing:
            yield f"symmetry names {missing[0]}, which the state dict does not have."
            continue
        sizes = {state[name].shape[axis] for name, axis in units.axes}
        if len(sizes) > 1:
            yield f"symmetry ties dimensions of sizes {sorted(sizes)} in {units.axes}."
            continue
        order = torch.randperm(sizes.pop(), generator=generator)
        moved = subject.build(permuted(state, units, order))
        if not _agree(answers, _answers(subject, moved)):
            yield (
                f"Reordering the units {units.axes} changes the answers; name every parameter "
                "that such a unit touches (its incoming weights, bias, norm, outgoing weights), or "
                "declare no symmetry."
            )


def _of_build(subject: Subject, module: nn.Module, state: State) -> Iterator[str]:
    """Wrong states must be refused: what does not fit would be left at random."""
    name = next(iter(state))
    long = torch.cat([state[name].reshape(-1)] * 2)
    wrong: dict[str, State] = {
        f"lacks {name}": {n: t for n, t in state.items() if n != name},
        f"has {name} in another shape": {**state, name: long},
        "has a parameter too many": {**state, "no.such.parameter": torch.zeros(1)},
    }
    for what, damaged in wrong.items():
        if _accepts(subject.build, damaged):
            yield (
                f"build accepts a state that {what}; load it strictly "
                "(`module.load_state_dict(state)`), so that a wrong file is refused."
            )


def _accepts(build: Callable[[State], nn.Module], state: State) -> bool:
    try:
        with UsersCode("subject", "a refusal"):
            build(state)
    except (SubjectError, ValueError):
        return False
    return True


def _measured(subject: Subject, module: nn.Module) -> Generator[str, None, Any]:
    """What `measure` gives; faults of what it and `answer` leave behind."""
    before, enabled = torch.random.get_rng_state(), torch.is_grad_enabled()
    _answers(subject, module)
    measured = subject.measure(module)
    if not torch.equal(before, torch.random.get_rng_state()):
        yield "answer or measure draws from torch's global random generator; draw from your own."
    if torch.is_grad_enabled() != enabled:
        torch.set_grad_enabled(enabled)
        yield "answer or measure switches gradients for all; write `with torch.no_grad():` instead."
    if any(parameter.grad is not None for parameter in module.parameters()):
        yield "answer or measure leaves gradients on the module; it must only look at it."
    return measured


def _agree(a: Tensor, b: Tensor) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) <= CLOSE * max(
        1e-3, float(a.abs().max())
    )


def _near(a: float, b: float) -> bool:
    return abs(a - b) <= MEANS_CLOSE * max(1.0, abs(b))


Question = Callable[[Subject, nn.Module, State], Iterator[str]]
QUESTIONS: dict[str, Question] = {
    "features": _of_features,
    "measure and items": _of_metrics,
    "answer_stack": _of_stack,
    "symmetry": _of_symmetry,
    "build": _of_build,
}
"""What is asked once the answers are sound, by the part that it calls."""
LATER_QUESTIONS: dict[str, Question] = {
    **QUESTIONS,
    "measure and items": partial(_of_metrics, repeat=False),
}
"""Of checkpoints after the first: whether `measure` repeats itself is a matter of the subject."""
