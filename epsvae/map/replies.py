"""What checkpoints reply to a map's questions: each runs once, and only short numbers are kept.

Of every probe's answer stay a few columns (the subject's features, its scores of single inputs, and
by default levels of the answer); the answers themselves stay as coordinates in a low-rank basis.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import tqdm

from epsvae.errors import CheckpointError, SubjectError
from epsvae.folders import Example
from epsvae.map.questions import Questions
from epsvae.subject import State, Subject
from epsvae.users_code import UsersCode

log = logging.getLogger(__name__)

AT_ONCE = 16
"""Checkpoints that run together, if their shapes agree."""
NARROW = 16
"""Answers of at most so many numbers are columns themselves, where the subject has no features."""
TINY = 1e-6


class Kept(NamedTuple):
    """What is kept of the answers of n checkpoints."""

    columns: Float[Tensor, "n probes columns"]
    """Of each probe's answer; scores of single inputs come last, in the order of the metrics."""
    wide: Float[Tensor, "n columns"]
    """Means of the same columns over all anchors and probes."""


@dataclass(frozen=True, eq=False)
class Replies:
    """What n checkpoints replied."""

    kept: Kept
    metrics: Float[Tensor, "n metrics"]
    runs: np.ndarray


class Answers(NamedTuple):
    """One group of checkpoints that ran together."""

    probes: Float[Tensor, "n probes answers"]
    anchors: Float[Tensor, "n anchors answers"]
    examples: tuple[Example, ...]


def answers_of(
    subject: Subject, questions: Questions, examples: Iterable[Example], progress: str = ""
) -> Iterator[Answers]:
    """Run each checkpoint once, over probes and anchors; neighbours of equal shapes together."""
    inputs = subject.inputs[questions.places]
    n_probes = len(questions.probes)
    with tqdm(desc=progress, unit="file", disable=not progress) as bar:
        for group in groups(examples):
            with UsersCode(group[0].source, f"a checkpoint of {subject.name}"):
                answers = subject.answer_stack([example.state for example in group], inputs)
            bar.update(len(group))
            sound = answers.flatten(1).isfinite().all(1)
            for example in (e for e, well in zip(group, sound, strict=True) if not well):
                log.warning("passed over: %s answers with NaN or infinity", example.source)
            kept = tuple(e for e, well in zip(group, sound, strict=True) if well)
            if kept:
                yield Answers(answers[sound, :n_probes], answers[sound, n_probes:], kept)


def groups(examples: Iterable[Example], most: int = AT_ONCE) -> Iterator[tuple[Example, ...]]:
    """Neighbours of equal shapes, a few at a time."""
    for _, alike in groupby(examples, key=lambda example: shapes_of(example.state)):
        while group := tuple(islice(alike, most)):
            yield group


def shapes_of(state: State) -> tuple[tuple[str, tuple[int, ...]], ...]:
    """Names and shapes: networks that agree in them can run together."""
    return tuple((name, tuple(tensor.shape)) for name, tensor in state.items())


def check_finite(answers: Float[Tensor, "n inputs answers"]) -> None:
    """Raise CheckpointError if a checkpoint answers with NaN or infinity."""
    if not answers.isfinite().all():
        raise CheckpointError("expected finite answers, found NaN or infinity")


def keep(subject: Subject, questions: Questions, group: Answers) -> Kept:
    """What is kept of a group's answers.

    The probes' columns are those of the probes alone, as whoever asks the map will have them: a
    feature may compare an answer with the others.
    """
    everywhere = columns_of(subject, torch.cat([group.probes, group.anchors], 1), questions.places)
    return Kept(columns_of(subject, group.probes, questions.probes), everywhere.mean(1))


def columns_of(
    subject: Subject, answers: Float[Tensor, "n inputs answers"], places: Int[Tensor, "inputs"]
) -> Float[Tensor, "n inputs columns"]:
    """Columns of the answers to the subject's inputs at some places, for each checkpoint.

    The subject's features, or levels and short answers themselves where it has none; then the
    items. Raises SubjectError if one is not finite.
    """
    targets = targets_of(subject, places)
    columns = torch.stack([_columns(subject, one, targets) for one in answers])
    if not columns.isfinite().all():
        raise SubjectError(
            f"{subject.name}: expected finite features and items, found NaN or infinity"
        )
    return columns


def targets_of(subject: Subject, places: Int[Tensor, "inputs"]) -> Tensor | None:
    """What should be answered at some places of the subject's inputs, if it says that."""
    return None if subject.targets is None else subject.targets[places]


def _columns(
    subject: Subject, answers: Float[Tensor, "inputs answers"], targets: Tensor | None
) -> Float[Tensor, "inputs columns"]:
    if type(subject).features is Subject.features:
        columns = [levels(answers)] + ([answers] if answers.shape[1] <= NARROW else [])
    else:
        columns = [subject.features(answers, targets)]
    items = subject.items(answers, targets)
    columns += [items[m.name][:, None] for m in subject.metrics if m.name in items]
    return torch.cat([column.float() for column in columns], 1)


def counted(subject: Subject, answers: Float[Tensor, "inputs answers"], places: Tensor) -> Tensor:
    """Which metrics have items, as places in `Subject.metrics`."""
    items = subject.items(answers, targets_of(subject, places))
    return torch.tensor(
        [i for i, m in enumerate(subject.metrics) if m.name in items], dtype=torch.int64
    )


def levels(answers: Float[Tensor, "n answers"]) -> Float[Tensor, "n 8"]:
    """Levels and moments of each answer, for subjects that name no features of their own.

    Mean, spread, largest and smallest entry, log of the mean square, log of the mean square of
    steps between neighbours, skewness, kurtosis (its logarithm).
    """
    centred = answers - answers.mean(1, keepdim=True)
    spread = centred.square().mean(1, keepdim=True).sqrt()
    unit = centred / (spread + TINY)
    steps = answers.diff(dim=1) if answers.shape[1] > 1 else answers
    return torch.stack(
        [
            answers.mean(1),
            spread[:, 0],
            answers.amax(1),
            answers.amin(1),
            torch.log(answers.square().mean(1) + TINY),
            torch.log(steps.square().mean(1) + TINY),
            unit.pow(3).mean(1),
            torch.log(unit.pow(4).mean(1) + TINY),
        ],
        1,
    )


def metrics_row(subject: Subject, example: Example) -> Float[Tensor, "metrics"]:
    """Metrics in the subject's order; raises CheckpointError for a missing or impossible one."""
    values = []
    for metric in subject.metrics:
        value = example.metrics.get(metric.name, np.nan)
        if not metric.low <= value <= metric.high:
            raise CheckpointError(
                f"{example.source}: expected {metric.name} in [{metric.low:g}, {metric.high:g}], "
                f"found {value}"
            )
        values.append(value)
    return torch.tensor(values, dtype=torch.float32)


def collect(subject: Subject, parts: Sequence[tuple[Answers, Kept]]) -> Replies:
    """Replies of all groups together."""
    examples = [example for group, _ in parts for example in group.examples]
    return Replies(
        Kept(*(torch.cat(tensors) for tensors in zip(*(kept for _, kept in parts), strict=True))),
        torch.stack([metrics_row(subject, example) for example in examples]),
        np.array([example.run for example in examples], dtype=object),
    )
