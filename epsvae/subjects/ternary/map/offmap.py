"""How far a checkpoint lies from what a map knows: a score from weights alone, without labels.

Each block of the fingerprint has a Mahalanobis distance from the training checkpoints. It is put on
a logarithmic scale where 0 is typical of runs that were left out, and one in a hundred of their
checkpoints reaches 1. The worst block of readings and the worst of weights count, each divided by
what one in two hundred exceed: above 1 is flagged.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from epsvae.map.novelty import Distance, Scale
from epsvae.subjects.ternary.map.fingerprint import READINGS, Fingerprint


@dataclass(frozen=True, eq=False)
class Part:
    """One part of the off-map score, of n checkpoints; above 1 is flagged."""

    score: Float[Tensor, "n"]
    block: list[str]
    """The block that stands out most, in each checkpoint; empty where none can be compared."""


@dataclass(frozen=True, eq=False)
class Novelty:
    """Off-map scores of n checkpoints."""

    reading: Part
    """Does it behave like a training checkpoint, as far as the sweep sees?"""
    weights: Part
    """Do its layers look like theirs? Layers that nothing reads are seen by this part alone."""

    @property
    def score(self) -> Float[Tensor, "n"]:
        """The one number: the larger part."""
        return torch.maximum(self.reading.score, self.weights.score)

    @property
    def flagged(self) -> list[bool]:
        """Which checkpoints are off the map."""
        return (self.score > 1).tolist()


@dataclass(frozen=True, eq=False)
class OffMap:
    """What is known of a library's checkpoints, block by block."""

    distances: Mapping[str, Distance]
    scales: Mapping[str, Scale]
    thresholds: tuple[float, float]
    """Of readings and of weights: what half of `ALARMS` of held-out checkpoints exceed."""

    def __call__(self, fingerprint: Fingerprint) -> Novelty:
        """Scores of n checkpoints; blocks of another size than the library's are passed over."""
        known = {
            name: self.scales[name](distance(fingerprint[name]))
            for name, distance in self.distances.items()
            if name in fingerprint and fingerprint[name].shape[1] == len(distance.mean)
        }
        nothing = {"": torch.zeros(len(fingerprint[READINGS[0]]))}
        reading = {name: score for name, score in known.items() if name in READINGS}
        weights = {name: score for name, score in known.items() if name not in READINGS}
        parts = (worst_block(part or nothing) for part in (reading, weights))
        return Novelty(
            *(
                Part(part.score / threshold, part.block)
                for part, threshold in zip(parts, self.thresholds, strict=True)
            )
        )


def worst_block(scores: Mapping[str, Float[Tensor, "n"]]) -> Part:
    """The largest of all blocks' scores, in each checkpoint."""
    names = list(scores)
    largest, place = torch.stack(list(scores.values())).max(0)
    return Part(largest, [names[i] for i in place.tolist()])
