"""Train a map end to end from its closed form, with early stopping on validation runs."""

import copy
import logging
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import trange

from epsvae.subjects.ternary import poincare
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData, Rows, all_weights, embeddings_of, metrics_of
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.threads import calm

log = logging.getLogger(__name__)

SMALLEST_VARIANCE = 1e-6


@dataclass(frozen=True)
class TuneConfig:
    """End-to-end training: small steps, since the closed form is close."""

    epochs: int = 8
    lr: float = 3e-6
    probe_lr: float = 3e-3
    batch_size: int = 64
    lambda_metric: float = 1.0
    beta: float = 1e-5
    patience: int = 5
    poincare: bool = False
    """Judge embeddings by squared Poincaré distance instead of squared Euclidean distance."""


@dataclass(frozen=True, eq=False)
class Tuning:
    """What end-to-end training gave."""

    model: EpsilonVAE
    """At the epoch with the smallest validation loss; epoch 0 is the closed form."""
    final: EpsilonVAE
    history: pd.DataFrame
    """Columns epoch, train, validation: the losses."""


@dataclass(frozen=True, eq=False)
class Spread:
    """Variances of the training checkpoints: the scale on which errors are judged."""

    embeddings: Float[Tensor, ""]
    """Mean over all coordinates."""
    metrics: Float[Tensor, "3"]


def spread_of(split: ExtractedSplit) -> Spread:
    """Variances of a split; that of a constant metric counts as a tiny one."""
    metrics = metrics_of(split).var(0).clamp_min(SMALLEST_VARIANCE)
    return Spread(embeddings_of(split).var(0).mean(), metrics)


def kl_to_prior(
    mu: Float[Tensor, "n latent"],
    logvar: Float[Tensor, "n latent"],
    prior_std: Float[Tensor, "latent"],
) -> Float[Tensor, ""]:
    """KL(N(mu, exp(logvar)) || N(0, prior_std^2)): sum over coordinates, mean over checkpoints."""
    variance = prior_std.square()
    ratio = logvar.exp() / variance
    return 0.5 * (mu.square() / variance + ratio - 1 - ratio.log()).sum(-1).mean()


def map_loss(
    model: EpsilonVAE,
    weights: Float[Tensor, "n weights"],
    embeddings: Float[Tensor, "n anchors dim"],
    metrics: Float[Tensor, "n 3"],
    config: TuneConfig,
    spread: Spread,
    generator: torch.Generator | None = None,
) -> Float[Tensor, ""]:
    """embedding loss + lambda * metric loss + beta * KL; z is the mean where no generator is given.

    Embedding and metric losses are shares of the training checkpoints' variance that stay
    unexplained, so that neither drowns the other.
    """
    mu, logvar = model.posterior(weights)
    z = mu
    if generator is not None:
        z = mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=generator)
    points = model.decode_embeddings(z)
    if config.poincare:
        embedding_error = poincare.distance(points, embeddings).square().mean()
    else:
        embedding_error = (points - embeddings).square().mean()
    metric_error = (model.predict_metrics(z) - metrics).square().mean(0)
    embedding_loss = embedding_error / spread.embeddings
    metric_loss = (metric_error / spread.metrics).mean()
    kl = kl_to_prior(mu, logvar, model.prior_std)
    return embedding_loss + config.lambda_metric * metric_loss + config.beta * kl


@calm()
def fine_tune(
    closed_form: EpsilonVAE, data: MapData, config: TuneConfig, generator: torch.Generator
) -> Tuning:
    """Train a copy of a fitted map with AdamW, a cosine schedule, and an eye on validation runs."""
    model = copy.deepcopy(closed_form).requires_grad_()  # a loaded map comes without gradients
    best = copy.deepcopy(closed_form)
    probes = [model.sweep.probes]
    others = [p for name, p in model.named_parameters() if name != "sweep.probes"]
    groups: list[dict[str, Any]] = [{"params": others}, {"params": probes, "lr": config.probe_lr}]
    optimiser = torch.optim.AdamW(groups, lr=config.lr, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.epochs)
    spread = spread_of(data.train)
    losses = [(0, torch.nan, _validation_loss(model, data, config, spread))]
    for epoch in trange(1, config.epochs + 1, desc="fine-tune", unit="epoch"):
        train = _train_epoch(model, data, config, spread, optimiser, generator)
        schedule.step()
        losses.append((epoch, train, _validation_loss(model, data, config, spread)))
        if losses[-1][2] == min(loss for *_, loss in losses):
            best.load_state_dict(model.state_dict())
        elif epoch - min(losses, key=lambda row: row[2])[0] >= config.patience:
            log.info("stopped at epoch %d: validation has not improved", epoch)
            break
    history = pd.DataFrame(losses, columns=["epoch", "train", "validation"])
    return Tuning(best.eval(), model.eval(), history)


def _train_epoch(
    model: EpsilonVAE,
    data: MapData,
    config: TuneConfig,
    spread: Spread,
    optimiser: torch.optim.Optimizer,
    generator: torch.Generator,
) -> float:
    order = torch.randperm(len(data.train.metrics), generator=generator)
    total = 0.0
    for rows in order.split(config.batch_size):
        batch = _batch(data, "train", rows.sort().values.numpy())
        loss = map_loss(model, *batch, config, spread, generator)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(rows) / len(order)
    return total


@torch.no_grad()
def _validation_loss(model: EpsilonVAE, data: MapData, config: TuneConfig, spread: Spread) -> float:
    return map_loss(model, *_batch(data, "validation", slice(None)), config, spread).item()


def _batch(data: MapData, split: str, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
    part = data.split(split)
    return all_weights(part, rows), embeddings_of(part, rows), metrics_of(part, rows)
