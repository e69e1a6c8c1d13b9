"""The map of any subject: a few answers -> z -> metrics and the answers to 256 anchors.

Learned quadrature: from past runs it learns how few answers, weighed how, give what the full
evaluation would say. z has 64 numbers: first where the anchors' answers lie (principal components,
predicted from the probes' answers), last the metrics on a scale without ends. Everything that the
map predicts, it predicts from z alone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.map.questions import Questions
from epsvae.map.readers import Readers
from epsvae.map.replies import check_finite, columns_of
from epsvae.map.summaries import N_SUMMARIES, Summaries
from epsvae.subject import State, Subject

LATENT = 64
SCORES = 12
"""Leading coordinates of the probes' answers that the readers see beside the summaries."""


@dataclass(frozen=True)
class QuadratureConfig:
    """Sizes of a map, besides those that its subject gives."""

    n_probes: int
    n_anchors: int
    n_answers: int
    """Numbers in one answer."""
    n_columns: int
    """Numbers kept of the answer to each probe."""
    counted: tuple[int, ...]
    """Metrics that have items, by their place; their scores are the last columns."""
    probe_rank: int
    anchor_rank: int
    n_centres: int = 0
    n_nodes: tuple[int, ...] = ()
    """Of each metric's trees; none before the readers are fitted."""
    latent_dim: int = LATENT
    seed: int = 0

    asdict = asdict


class QuadratureMap(nn.Module):
    """The map of a subject's checkpoints; `epsvae.map.learn.fit_map` fits one."""

    probes: Tensor
    anchors: Tensor
    known: Tensor
    level: Tensor
    probe_mean: Tensor
    probe_basis: Tensor
    anchor_mean: Tensor
    anchor_basis: Tensor
    shift: Tensor
    scale: Tensor

    def __init__(self, config: QuadratureConfig, subject: Subject) -> None:
        super().__init__()
        self.config, self.subject = config, subject
        n_metrics = len(subject.metrics)
        self.geometry_dim = config.latent_dim - n_metrics
        places = config.n_probes + config.n_anchors
        self.register_buffer("probes", torch.zeros(config.n_probes, dtype=torch.int64))
        self.register_buffer("anchors", torch.zeros(config.n_anchors, dtype=torch.int64))
        self.register_buffer("known", torch.zeros(places, 2))
        self.register_buffer("level", torch.ones(()))
        for name, n, rank in (
            ("probe", config.n_probes, config.probe_rank),
            ("anchor", config.n_anchors, config.anchor_rank),
        ):
            self.register_buffer(f"{name}_mean", torch.zeros(n * config.n_answers))
            self.register_buffer(f"{name}_basis", torch.zeros(rank, n * config.n_answers))
        self.summaries = Summaries(config.n_probes, config.n_columns)
        n_features = config.n_columns * N_SUMMARIES + min(SCORES, config.probe_rank)
        n_features += len(config.counted)
        self.geometry = nn.Linear(config.probe_rank, self.geometry_dim)
        self.decoder = nn.Linear(self.geometry_dim, config.anchor_rank, bias=False)
        self.readers = Readers(n_features, n_metrics, config.n_centres, config.n_nodes)
        self.register_buffer("shift", torch.zeros(n_metrics))
        self.register_buffer("scale", torch.ones(n_metrics))

    def set_anchor_basis(self, basis: Float[Tensor, "rank flat"], scale: Float[Tensor, ""]) -> None:
        """Give the map the directions that its codes stand for, at most as many as codes, and what
        a unit of each code is worth in them."""
        self.config = replace(self.config, anchor_rank=len(basis))
        self.anchor_basis = basis
        self.decoder = nn.Linear(self.geometry_dim, len(basis), bias=False)
        self.decoder.weight.copy_(scale * torch.eye(*self.decoder.weight.shape))

    def set_readers(self, readers: Readers) -> None:
        """Give the map its readers, and its config their sizes."""
        n_nodes = tuple(len(forest.number) for forest in readers.forests)
        self.config = replace(self.config, n_centres=len(readers.centres), n_nodes=n_nodes)
        self.readers = readers.requires_grad_(False)

    @property
    def questions(self) -> Questions:
        """Probes and anchors, as places in the subject's inputs."""
        return Questions(self.probes, self.anchors)

    @torch.no_grad()
    def encode(self, states: State | Sequence[State]) -> Float[Tensor, "*batch latent"]:
        """z of one checkpoint, or a row for each of several; runs the probes through them.

        Raises CheckpointError if one answers with NaN or infinity.
        """
        if isinstance(states, Mapping):
            return self.encode([states])[0]
        answers = self.subject.answer_stack(states, self.subject.inputs[self.probes])
        check_finite(answers)
        return self.latent(self.read(answers))

    def read(self, answers: Float[Tensor, "n probes answers"]) -> "Reading":
        """What the probes' answers say, before anything is predicted from it."""
        columns = columns_of(self.subject, answers, self.probes)
        return self.reading(columns, self.scores(answers))

    def scores(self, answers: Float[Tensor, "n probes answers"]) -> Float[Tensor, "n rank"]:
        """Coordinates of the probes' answers in their basis."""
        return (self.squash(answers).flatten(1) - self.probe_mean) @ self.probe_basis.T

    def reading(
        self, columns: Float[Tensor, "n probes columns"], scores: Float[Tensor, "n rank"]
    ) -> "Reading":
        """The same from what is kept of the answers."""
        counts = self.link(self.count(columns))
        known = counts[:, list(self.config.counted)]
        parts = [self.summaries(columns), scores[:, :SCORES], known]
        return Reading(torch.cat(parts, 1), counts, scores)

    def count(self, columns: Float[Tensor, "n probes columns"]) -> Float[Tensor, "n metrics"]:
        """Weighed means of the items: the metrics as the probes alone say; NaN without items."""
        counts = columns.new_full((len(columns), len(self.subject.metrics)), torch.nan)
        if self.config.counted:
            means = self.summaries.means(columns)
            counts[:, list(self.config.counted)] = means[:, -len(self.config.counted) :]
        return counts

    def latent(self, reading: "Reading") -> Float[Tensor, "n latent"]:
        """z of each checkpoint from what its probes say."""
        metrics = self.readers(reading.features, reading.counts)
        return torch.cat([self.geometry(reading.scores), metrics], 1)

    def link(self, metrics: Float[Tensor, "*batch metrics"]) -> Float[Tensor, "*batch metrics"]:
        """Metrics on the unbounded, standardised scale of z."""
        columns = zip(self.subject.metrics, metrics.unbind(-1), strict=True)
        linked = torch.stack([metric.link(values) for metric, values in columns], -1)
        return (linked - self.shift) / self.scale

    def unlink(self, linked: Float[Tensor, "*batch metrics"]) -> Float[Tensor, "*batch metrics"]:
        """The inverse of `link`; within the metrics' ranges."""
        columns = zip(
            self.subject.metrics, (linked * self.scale + self.shift).unbind(-1), strict=True
        )
        return torch.stack([metric.unlink(values) for metric, values in columns], -1)

    def predict_metrics(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch metrics"]:
        """Each metric, in the subject's order and within its range."""
        return self.unlink(z[..., self.geometry_dim :])

    def decode_answers(
        self, z: Float[Tensor, "*batch latent"]
    ) -> Float[Tensor, "*batch anchors answers"]:
        """The answers to the anchors."""
        coordinates = self.decoder(z[..., : self.geometry_dim])
        flat = coordinates @ self.anchor_basis + self.anchor_mean
        return self.stretch(flat.unflatten(-1, (self.config.n_anchors, self.config.n_answers)))

    def squash(self, answers: Tensor) -> Tensor:
        """Answers on a scale that is linear where most lie and logarithmic far beyond."""
        return torch.asinh(answers / self.level) * self.level

    def stretch(self, squashed: Tensor) -> Tensor:
        """The inverse of `squash`."""
        return torch.sinh(squashed / self.level) * self.level


@dataclass(frozen=True, eq=False)
class Reading:
    """What n checkpoints' probes say."""

    features: Float[Tensor, "n features"]
    """What the readers see."""
    counts: Float[Tensor, "n metrics"]
    """Metrics as counted on the probes, on the scale of z; NaN for those without items."""
    scores: Float[Tensor, "n rank"]
    """Coordinates of the probes' answers."""

    def blocks(self) -> dict[str, Float[Tensor, "n _"]]:
        """The parts in which a checkpoint may be unlike those of the training runs."""
        return {"summaries": self.features, "answers": self.scores}
