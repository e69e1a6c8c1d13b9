"""The one pass over all checkpoints that a map is fitted from: ask each, keep what is short."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain

import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.errors import LibraryError
from epsvae.folders import Example
from epsvae.map.half import rounded
from epsvae.map.low_rank import LowRank
from epsvae.map.quadrature import QuadratureConfig, QuadratureMap
from epsvae.map.questions import draw_questions, fingerprint
from epsvae.map.replies import Answers, Kept, Replies, answers_of, collect, counted, keep
from epsvae.subject import Subject

LINEAR = 3.0
"""Answers are compressed from so many times their median size on."""


@dataclass(frozen=True, eq=False)
class Split:
    """What a split's checkpoints replied, and where their answers lie in the map's bases."""

    replies: Replies
    scores: Float[Tensor, "n probe_rank"]
    coordinates: Float[Tensor, "n anchor_rank"]


def ask_train(
    subject: Subject, train: Iterable[Example], n_inputs: int, seed: int, progress: bool
) -> tuple[QuadratureMap, Split]:
    """A map that has its questions and its bases, not yet fitted; and the training replies."""
    train = iter(train)
    if (first := next(train, None)) is None:
        raise LibraryError("train: expected at least one checkpoint, found none")
    length = subject.answer_stack([first.state], subject.inputs[:1]).shape[2]
    questions = draw_questions(subject, n_inputs, length, seed)
    parts, of_probes, of_anchors, level = [], LowRank(), LowRank(), 0.0
    title = "training runs" if progress else ""
    for group in answers_of(subject, questions, chain([first], train), title):
        level = level or LINEAR * float(group.probes.abs().median()) or 1.0
        of_probes.add(_squash(group.probes, level))
        of_anchors.add(_squash(group.anchors, level))
        parts.append((group, keep(subject, questions, group)))
    replies = collect(subject, parts)
    scores, exact_basis = of_probes.factors()
    probe_basis = rounded(exact_basis)
    coordinates, anchor_basis = of_anchors.factors()
    config = QuadratureConfig(
        n_probes=len(questions.probes),
        n_anchors=len(questions.anchors),
        n_answers=length,
        n_columns=replies.kept.columns.shape[2],
        counted=tuple(counted(subject, parts[0][0].probes[0], questions.probes).tolist()),
        probe_rank=len(probe_basis),
        anchor_rank=len(anchor_basis),
        seed=seed,
    )
    model = QuadratureMap(config, subject).requires_grad_(False).eval()
    model.probes.copy_(questions.probes)
    model.anchors.copy_(questions.anchors)
    model.known.copy_(fingerprint(subject.inputs, subject.targets, questions.places))
    model.level.fill_(level)
    model.probe_basis.copy_(probe_basis)
    model.probe_mean.copy_(scores.mean(0) @ exact_basis)
    model.anchor_basis.copy_(anchor_basis)
    model.anchor_mean.copy_(coordinates.mean(0) @ anchor_basis)
    scores = (scores - scores.mean(0)) @ (exact_basis @ probe_basis.T)
    return model, Split(replies, scores, coordinates - coordinates.mean(0))


def ask(model: QuadratureMap, examples: Iterable[Example], progress: bool) -> Split:
    """Replies of other runs, in the bases of the training runs.

    Raises LibraryError if there is no checkpoint.
    """
    kept = list(_each(model, examples, progress))
    if not kept:
        raise LibraryError("validation: expected at least one checkpoint, found none")
    parts, scores, coordinates = zip(*kept, strict=True)
    return Split(collect(model.subject, parts), torch.cat(scores), torch.cat(coordinates))


def _each(
    model: QuadratureMap, examples: Iterable[Example], progress: bool
) -> Iterator[tuple[tuple[Answers, Kept], Tensor, Tensor]]:
    subject, questions = model.subject, model.questions
    for group in answers_of(subject, questions, examples, "validation runs" if progress else ""):
        anchors = model.squash(group.anchors).flatten(1)
        yield (
            (group, keep(subject, questions, group)),
            model.scores(group.probes),
            (anchors - model.anchor_mean) @ model.anchor_basis.T,
        )


def _squash(answers: Float[Tensor, "n inputs answers"], level: float) -> Float[Tensor, "n _"]:
    return (torch.asinh(answers / level) * level).flatten(1)
