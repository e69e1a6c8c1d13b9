"""Metrics from the few inputs that are run, without learning how to read them.

A random subset on which the subject measures itself, and anchor points: the inputs in the middle of
clusters, each weighed by its cluster (Vivek et al., 2024).
"""

import copy
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from epsvae.folders import Example
from epsvae.map.replies import counted, groups, targets_of
from epsvae.subject import Subject

DRAWS = 20
POOL = 4000
"""Inputs among which anchor points are chosen: the whole pool, or so many drawn from it. They stand
for those alone."""
STEPS = 20
"""Of k-medoids, which ends sooner where nothing moves."""

Predictions = Float[np.ndarray, "draws n metrics"]
"""NaN where a row says nothing of a metric."""


def random_subsets(
    subject: Subject, asked: Sequence[Example], n_inputs: int, seed: int
) -> Predictions:
    """The subject's own measure on a few inputs alone, drawn anew twenty times."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        torch.randperm(len(subject.inputs), generator=generator)[:n_inputs] for _ in range(DRAWS)
    ]
    parts = [_restricted(subject, places) for places in drawn]
    result = np.full((DRAWS, len(asked), len(subject.metrics)), np.nan)
    for column, example in enumerate(tqdm(asked, desc="random subsets", unit="file")):
        module = subject.build(example.state)
        for draw, part in enumerate(parts):
            measured = _measured(part, module)
            result[draw, column] = [measured[metric.name] for metric in subject.metrics]
    return result


def _measured(part: Subject, module: nn.Module) -> Mapping[str, float]:
    """The metrics of a part of the inputs: by the subject's `scores` of answers, if it has them."""
    scores = getattr(part, "scores", None)
    if scores is None:
        return part.measure(module)
    with torch.no_grad():
        measured: Mapping[str, float] = scores(part.answer(module, part.inputs), part.targets)
    return measured


def _restricted(subject: Subject, places: Tensor) -> Subject:
    part = copy.copy(subject)
    part.inputs = subject.inputs[places]
    part.targets = targets_of(subject, places)
    return part


def anchor_points(
    subject: Subject, train: Sequence[Example], n_inputs: int, seed: int
) -> tuple[Tensor, Float[Tensor, "inputs"]]:
    """(places of the medoids, weights) by all items of the training checkpoints."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randperm(len(subject.inputs), generator=generator)[:POOL]
    scores = _items(subject, train, pool)
    if not len(scores):
        return pool[:0], torch.zeros(0)
    spread = scores.std((1, 2), keepdim=True) + 1e-9
    rows = (scores / spread).flatten(0, 1).T  # (inputs, metrics with items x checkpoints)
    medoids, members = k_medoids(torch.cdist(rows, rows), n_inputs, generator)
    return pool[medoids], torch.bincount(members, minlength=len(medoids)) / len(pool)


def k_medoids(
    apart: Float[Tensor, "n n"], k: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(medoids, cluster of each point): medoids and members in turn until nothing moves."""
    medoids = torch.randperm(len(apart), generator=generator)[:1]
    while len(medoids) < k:  # as k-means++ does
        chance = apart[:, medoids].amin(1).square()
        chance = chance if chance.any() else torch.ones_like(chance)  # fewer places than medoids
        medoids = torch.cat([medoids, torch.multinomial(chance, 1, generator=generator)])
    for _ in range(STEPS):
        members = apart[:, medoids].argmin(1)
        costs = torch.zeros(k, len(apart)).index_add(0, members, apart)
        own = members == torch.arange(k)[:, None]
        moved = costs.masked_fill(~own, torch.inf).argmin(1)
        if torch.equal(moved, medoids):
            break
        medoids = moved
    return medoids, apart[:, medoids].argmin(1)


def _items(
    subject: Subject, asked: Sequence[Example], places: Tensor
) -> Float[Tensor, "items n inputs"]:
    """Scores of single inputs, for the metrics that have them, in the order of the metrics."""
    targets = targets_of(subject, places)
    found = []
    for group in groups(tqdm(asked, desc="items", unit="file")):
        answers = subject.answer_stack([example.state for example in group], subject.inputs[places])
        for one in answers:
            items = subject.items(one, targets)
            found.append([items[m.name].float() for m in subject.metrics if m.name in items])
    return (
        torch.stack([torch.stack(items) for items in found], 1)
        if found[0]
        else torch.zeros(0, 0, 0)
    )


def count(
    subject: Subject, asked: Sequence[Example], places: Tensor, weights: Tensor
) -> Float[np.ndarray, "n metrics"]:
    """Weighed means of items; NaN for a metric without any."""
    result = np.full((len(asked), len(subject.metrics)), np.nan)
    if len(places):
        answers = subject.answer_stack([asked[0].state], subject.inputs[places])[0]
        kept = counted(subject, answers, places).numpy()
        result[:, kept] = (_items(subject, asked, places) @ weights).T
    return result
