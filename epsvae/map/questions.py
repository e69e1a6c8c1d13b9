"""What a map asks of checkpoints: probes, from which it predicts, and anchors, which it places.

Both are taken from the subject's pool of inputs, and a map remembers them by their places in it. A
fingerprint of the inputs tells later whether the pool is still the same.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from epsvae.subject import Subject

N_ANCHORS = 256
MOST_NUMBERS = 2**18
"""Answers at all anchors together; where one answer is long there are fewer anchors."""
TOLERANCE = 1e-4
"""Between fingerprints of the same inputs, which another processor may round otherwise."""


class Questions(NamedTuple):
    """Places in `Subject.inputs`."""

    probes: Int[Tensor, "probes"]
    anchors: Int[Tensor, "anchors"]

    @property
    def places(self) -> Int[Tensor, "probes_and_anchors"]:
        """Probes, then anchors: what a checkpoint runs while a map is fitted."""
        return torch.cat([self.probes, self.anchors])


def draw_questions(subject: Subject, n_probes: int, n_answers: int, seed: int) -> Questions:
    """Probes and anchors at random, apart from each other where the pool is large enough.

    `n_answers` is the length of one answer.
    """
    n = len(subject.inputs)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed))
    n_anchors = min(N_ANCHORS, n, max(1, MOST_NUMBERS // n_answers))
    return Questions(order[:n_probes].clone(), order[n - n_anchors :].clone())


def fingerprint(
    inputs: Tensor, targets: Tensor | None, places: Int[Tensor, "n"]
) -> Float[Tensor, "n 2"]:
    """Two numbers for each input, one for its target: equal inputs have equal ones, on any
    processor within `TOLERANCE`."""
    parts = [inputs[places], torch.zeros(len(places)) if targets is None else targets[places]]
    return torch.stack([_digest(part) for part in parts], 1)


def _digest(values: Tensor) -> Float[Tensor, "n"]:
    rows = values.reshape(len(values), -1).double()
    waves = torch.cos(torch.arange(rows.shape[1], dtype=torch.double) + 1)
    return (rows @ waves / rows.shape[1] ** 0.5).float()
