"""Train a map's weight decoder on what the decoded networks do.

The teacher is the training checkpoints themselves, run on a pool of operations: where encoder A and
projection A put them, and the metrics. Half of every batch lies between two training checkpoints;
there the teacher is the mixture of both, and the metrics that z itself states. Half of these take
their coverage from elsewhere between the two: a geometry may come with any coverage, since decoder
A does not see the ball. This makes the decoder heed z's metrics on checkpoints that it never saw.
"""

import copy
import logging
from dataclasses import dataclass, replace

import pandas as pd
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor
from tqdm import trange

from epsvae.subjects.ternary import (
    METRIC_NAMES,
    N_OPERATIONS,
    decode,
    encode,
    operation_trits,
    project,
)
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.map.data import MapData, all_weights, metrics_of
from epsvae.subjects.ternary.map.model import N_METRICS, EpsilonVAE
from epsvae.subjects.ternary.map.soft_metrics import soft_metrics
from epsvae.subjects.ternary.map.sweep import standardise
from epsvae.subjects.ternary.map.weights_out import WeightDecoder, WeightDecoderConfig
from epsvae.subjects.ternary.network import State
from epsvae.threads import calm

log = logging.getLogger(__name__)

BATCH = 64
"""Checkpoints that are run at a time."""
COVERAGE = METRIC_NAMES.index("coverage") - N_METRICS
"""Its place in z, from the end."""
TINY = 1e-12
LARGEST_GRADIENT = 5.0


@dataclass(frozen=True)
class WeightTraining:
    """How a weight decoder is trained: Adam, the learning rate rises to `lr` and falls to 0."""

    epochs: int = 60
    lr: float = 2e-3
    batch_size: int = 64
    n_pool: int = 1024
    """Operations on which the teacher is run: all anchors and others at random."""
    n_operations: int = 96
    """Operations of the pool in each batch."""
    mixed: float = 0.5
    """Share of each batch that lies between two training checkpoints."""
    own_coverage: float = 0.5
    """Share of those whose coverage is mixed apart from the rest of z."""
    lambda_means: float = 0.05
    """Small: other means than the teacher's are fine if they do the same."""
    lambda_metrics: float = 3.0
    lambda_radii: float = 0.1
    """How far apart radii lie counts once more, relative to each checkpoint's own spread."""


@dataclass(frozen=True, eq=False)
class Behaviour:
    """What n checkpoints do on some operations, and their z."""

    z: Float[Tensor, "n latent"]
    points: Float[Tensor, "n ops dim"]
    means: Float[Tensor, "n ops dim"]
    """Encoder A's means, from which decoder A reconstructs."""
    links: Float[Tensor, "n 3"]
    """True metrics on z's scale."""

    def __getitem__(self, rows: Tensor) -> "Behaviour":
        return Behaviour(*(x[rows] for x in (self.z, self.points, self.means, self.links)))

    def on(self, places: Int[Tensor, "ops"]) -> "Behaviour":
        """The same on some of the operations only."""
        return replace(self, points=self.points[:, places], means=self.means[:, places])


@dataclass(frozen=True, eq=False)
class WeightFit:
    """What training gave."""

    model: EpsilonVAE
    """A copy of the map with a weight decoder: that of the epoch best on validation runs."""
    history: pd.DataFrame
    """Columns epoch, train, validation: the losses."""


@calm()
def fit_weight_decoder(
    model: EpsilonVAE,
    data: MapData,
    config: WeightDecoderConfig | None = None,
    training: WeightTraining | None = None,
    seed: int = 0,
) -> WeightFit:
    """Train a weight decoder for a fitted map; the map itself stays as it is.

    About two minutes on one core for a thousand checkpoints. The caller's random state is left
    alone.
    """
    training = training or WeightTraining()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        copied = with_weight_decoder(model, config or WeightDecoderConfig(), data.train)
        assert copied.weight_decoder is not None
        history = _train(copied, copied.weight_decoder, data, training)
    return WeightFit(copied.eval().requires_grad_(False), history)


def with_weight_decoder(
    model: EpsilonVAE, config: WeightDecoderConfig, train: ExtractedSplit
) -> EpsilonVAE:
    """A copy of a map with an untrained weight decoder around the mean of the training weights."""
    copied = EpsilonVAE(replace(model.config, weight_decoder=config))
    assert copied.weight_decoder is not None
    fresh = {f"weight_decoder.{k}": v for k, v in copied.weight_decoder.state_dict().items()}
    copied.load_state_dict(model.state_dict() | fresh)
    copied.weight_decoder.reference.copy_(mean_weights(train))
    return copied


def mean_weights(split: ExtractedSplit) -> Float[Tensor, "weights"]:
    """Mean of all parameters, in float64: what is the same in all checkpoints stays exact."""
    n = len(split.metrics)
    starts = range(0, n, BATCH)
    sums = [all_weights(split, slice(start, start + BATCH)).double().sum(0) for start in starts]
    return (torch.stack(sums).sum(0) / n).float()


@torch.no_grad()
def behaviour(model: EpsilonVAE, split: ExtractedSplit, index: Int[Tensor, "ops"]) -> Behaviour:
    """Run every checkpoint of a split on some operations."""
    architecture, trits = model.config.architecture, operation_trits(index)
    parts = []
    for start in range(0, len(split.metrics), BATCH):
        vectors = all_weights(split, slice(start, start + BATCH))
        state = all_layout(architecture).unflatten(vectors)
        means = encode(state, architecture, trits)
        points = project(state, architecture, means, vectors[:, -1].view(-1, 1, 1))
        parts.append((model.encode(vectors), points, means))
    z, points, means = (torch.cat(columns) for columns in zip(*parts, strict=True))
    return Behaviour(z, points, means, model.link(metrics_of(split)))


class DecoderLoss:
    """How far decoded networks are from what they should do.

    Points and means count by the share of the training checkpoints' variance that is missed,
    metrics by their squared error.
    """

    def __init__(
        self, model: EpsilonVAE, decoder: WeightDecoder, known: Behaviour, training: WeightTraining
    ) -> None:
        self.model, self.decoder, self.training = model, decoder, training
        self.scales = [
            known.points.var(0).sum(-1).mean().clamp_min(TINY),
            known.means.var(0).sum(-1).mean().clamp_min(TINY),
        ]

    def __call__(
        self,
        a: Behaviour,
        b: Behaviour,
        shares: Float[Tensor, "n latent"],
        index: Int[Tensor, "ops"],
    ) -> Float[Tensor, ""]:
        """Loss at shares * a + (1 - shares) * b, which mix each coordinate of z; points and means
        go with the first one."""
        architecture = self.model.config.architecture
        state = self.decoder.state(shares * a.z + (1 - shares) * b.z)
        means = encode(state, architecture, operation_trits(index))
        points = project(state, architecture, means, state[MAX_RADIUS].unsqueeze(-1))
        found = soft_metrics(points, decode(state, architecture, means), index)
        share = shares[:, :1, None]
        wanted = mix_points(a.points, b.points, share)
        wanted_means = share * a.means + (1 - share) * b.means
        missed = [(points - wanted, self.scales[0]), (means - wanted_means, self.scales[1])]
        by_points, by_means = (x.square().sum(-1).mean() / scale for x, scale in missed)
        wanted_metrics = self._metrics(a, b, shares[:, -N_METRICS:], index)
        by_metrics = (found - wanted_metrics).square().mean(0).sum()
        radii, wanted_radii = (standardise(x.norm(dim=-1)) for x in (points, wanted))
        by_radii = (radii - wanted_radii).square().mean()
        weights = self.training
        return (
            by_points
            + weights.lambda_means * by_means
            + weights.lambda_metrics * by_metrics
            + weights.lambda_radii * by_radii
        )

    @torch.no_grad()
    def _metrics(
        self, a: Behaviour, b: Behaviour, shares: Float[Tensor, "n 3"], index: Int[Tensor, "ops"]
    ) -> Float[Tensor, "n 3"]:
        """Metrics wanted on these operations: those of the mixed z, plus what the same operations
        add to the true metrics of a and b."""
        model = self.model
        mixed = model.predict_metrics(shares * a.links + (1 - shares) * b.links)
        a_sample, b_sample = (
            self._sampled(x, index) - model.predict_metrics(x.links) for x in (a, b)
        )
        return mixed + shares * a_sample + (1 - shares) * b_sample

    def _sampled(self, known: Behaviour, index: Int[Tensor, "ops"]) -> Float[Tensor, "n 3"]:
        logits = decode(self._decoder_a(), self.model.config.architecture, known.means)
        return soft_metrics(known.points, logits, index)

    def _decoder_a(self) -> State:
        return self.decoder.layout.unflatten(self.decoder.reference)


def mix_points(
    a: Float[Tensor, "n ops dim"], b: Float[Tensor, "n ops dim"], share: Float[Tensor, "n 1 1"]
) -> Float[Tensor, "n ops dim"]:
    """Points between two checkpoints': directions and norms mixed apart, so that points in
    opposite directions do not meet at the centre."""
    norms = share * a.norm(dim=-1, keepdim=True) + (1 - share) * b.norm(dim=-1, keepdim=True)
    return F.normalize(share * a + (1 - share) * b, dim=-1) * norms


def _train(
    model: EpsilonVAE, decoder: WeightDecoder, data: MapData, training: WeightTraining
) -> pd.DataFrame:
    """Leaves the decoder as it was after the epoch with the smallest validation loss."""
    pool = _pool(data.train.anchors, training.n_pool)
    train, held_out = (behaviour(model, split, pool) for split in (data.train, data.validation))
    loss = DecoderLoss(model, decoder, train, training)
    optimiser = torch.optim.Adam(decoder.parameters(), training.lr)
    steps = training.epochs * -(-len(train.z) // training.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.lr, total_steps=steps)
    every = torch.randperm(len(pool))[: len(data.train.anchors)]
    losses, best = [], copy.deepcopy(decoder.state_dict())
    for epoch in trange(1, training.epochs + 1, desc="weight decoder", unit="epoch"):
        total = 0.0
        for rows in torch.randperm(len(train.z)).split(training.batch_size):
            places = torch.randperm(len(pool))[: training.n_operations]
            others = train[torch.randint(len(train.z), rows.shape)].on(places)
            shares = mixing_shares(len(rows), model.config.latent_dim, training)
            value = loss(train[rows].on(places), others, shares, pool[places])
            optimiser.zero_grad()
            value.backward()
            torch.nn.utils.clip_grad_norm_(decoder.parameters(), LARGEST_GRADIENT)
            optimiser.step()
            schedule.step()
            total += value.item() * len(rows) / len(train.z)
        with torch.no_grad():
            alone = torch.ones_like(held_out.z)
            held = held_out.on(every)
            losses.append((epoch, total, loss(held, held, alone, pool[every]).item()))
        if losses[-1][2] == min(row[2] for row in losses):
            best = copy.deepcopy(decoder.state_dict())
    decoder.load_state_dict(best)
    return pd.DataFrame(losses, columns=["epoch", "train", "validation"])


def mixing_shares(n: int, latent_dim: int, training: WeightTraining) -> Float[Tensor, "n latent"]:
    """How much of n points is of the first checkpoint, and how much of the second."""
    shares = torch.rand(n, 1).repeat(1, latent_dim)
    own = torch.rand(n) < training.own_coverage
    shares[:, COVERAGE] = torch.where(own, torch.rand(n), shares[:, COVERAGE])
    shares[torch.rand(n) >= training.mixed] = 1.0
    return shares


def _pool(anchors: Int[Tensor, "anchors"], n_pool: int) -> Int[Tensor, "ops"]:
    """The anchors and, up to `n_pool`, other operations at random."""
    order = torch.randperm(N_OPERATIONS)
    others = order[~torch.isin(order, anchors)]
    return torch.cat([anchors, others[: max(0, n_pool - len(anchors))]])
