"""Train the seed's models by the seed's recipe; resumable, selected on validation runs."""

import copy
import logging
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from epsvae.library.atomic import replacing
from epsvae.map.data import MapData, Rows, embeddings_of, key_weights, metrics_of
from epsvae.map.seed import SeedConfig, SeedVAE
from epsvae.map.tune import kl_to_prior

log = logging.getLogger(__name__)

SAVE_EVERY = 10
"""Epochs between two states on disk."""


@dataclass(frozen=True, eq=False)
class SeedTraining:
    """A trained seed model."""

    model: SeedVAE
    """At the epoch with the smallest validation loss."""
    history: pd.DataFrame
    """Columns epoch, train, validation: the losses."""


def seed_loss(
    model: SeedVAE,
    weights: Float[Tensor, "n weights"],
    embeddings: Float[Tensor, "n anchors dim"],
    metrics: Float[Tensor, "n 3"],
    generator: torch.Generator | None,
) -> Float[Tensor, ""]:
    """embedding loss + lambda * metric loss + beta * KL (mean squared errors); without the first
    term, and lambda 1, for a metrics-only model. z is the mean where no generator is given."""
    config = model.config
    mu, logvar = model.posterior(weights)
    z = mu
    if generator is not None:
        z = mu + (0.5 * logvar).exp() * torch.randn(mu.shape, generator=generator)
    metric_loss = (model.predict_metrics(z) - metrics).square().mean()
    kl = config.beta * kl_to_prior(mu, logvar)
    if not config.hybrid:
        return metric_loss + kl
    embedding_loss = (model.decode_embeddings(z) - embeddings).square().mean()
    return embedding_loss + config.lambda_metric * metric_loss + kl


class SeedTrainer:
    """The seed's training loop, as an object whose state can be saved and picked up again.

    One deviation: it stops when validation has not improved for `patience` epochs. The cosine
    schedule keeps the recipe's horizon, so every epoch that is trained is the recipe's.
    """

    def __init__(self, config: SeedConfig, data: MapData, seed: int, patience: int = 40) -> None:
        self.config, self.data, self.patience = config, data, patience
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.model = SeedVAE(config)
        self.generator = torch.Generator().manual_seed(seed)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, config.epochs)
        self.best = copy.deepcopy(self.model.state_dict())
        self.losses: list[tuple[int, float, float]] = []

    @property
    def epoch(self) -> int:
        """Epochs trained so far."""
        return len(self.losses)

    @property
    def best_epoch(self) -> int:
        """Epoch with the smallest validation loss, 0 before the first."""
        return min(self.losses, key=lambda row: row[2])[0] if self.losses else 0

    @property
    def finished(self) -> bool:
        """Whether the recipe's epochs or the patience are used up."""
        used_up = self.epoch - self.best_epoch >= self.patience
        return used_up or self.epoch >= self.config.epochs

    def train_epoch(self) -> None:
        """One pass over the training split, then the validation loss."""
        self.model.train()
        order = torch.randperm(len(self.data.train.metrics), generator=self.generator)
        total = 0.0
        # Dropout draws from the global generator: a seed of our own for each epoch makes it ours.
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.generator.initial_seed() + self.epoch)
            for rows in order.split(self.config.batch_size):
                loss = seed_loss(self.model, *self._batch("train", rows.numpy()), self.generator)
                self.optimiser.zero_grad()
                loss.backward()
                self._clip()
                self.optimiser.step()
                total += loss.item() * len(rows) / len(order)
        self.schedule.step()
        self.losses.append((self.epoch + 1, total, self._validation_loss()))
        if self.best_epoch == self.epoch:
            self.best = copy.deepcopy(self.model.state_dict())

    def _clip(self) -> None:
        """Clip the gradient's norm. Gradients that are short enough are not even touched: with
        52 M of them, writing each once more costs a sixth of the step."""
        parameters = list(self.model.parameters())
        norm = torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])
        if norm > self.config.clip:
            torch.nn.utils.clip_grads_with_norm_(parameters, self.config.clip, norm)

    @torch.no_grad()
    def _validation_loss(self) -> float:
        self.model.eval()
        return seed_loss(self.model, *self._batch("validation", slice(None)), None).item()

    def _batch(self, split: str, rows: Rows) -> tuple[Tensor, Tensor, Tensor]:
        part = self.data.split(split)
        return key_weights(part, rows), embeddings_of(part, rows), metrics_of(part, rows)

    def save(self, path: Path) -> None:
        """Write the whole state, at once."""
        state = {
            "model": self.model.state_dict(),
            "best": self.best,
            "optimiser": self.optimiser.state_dict(),
            "schedule": self.schedule.state_dict(),
            "generator": self.generator.get_state(),
            "losses": self.losses,
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            torch.save(state, temporary)

    def restore(self, path: Path) -> None:
        """Go on from a saved state."""
        state = torch.load(path, weights_only=True)
        self.model.load_state_dict(state["model"])
        self.best = state["best"]
        self.optimiser.load_state_dict(state["optimiser"])
        self.schedule.load_state_dict(state["schedule"])
        self.generator.set_state(state["generator"])
        self.losses = [tuple(row) for row in state["losses"]]


def train_seed(
    config: SeedConfig, data: MapData, seed: int, state_file: Path | None = None, patience: int = 40
) -> SeedTraining:
    """Train a seed model; with a state file, a killed training goes on where it was."""
    trainer = SeedTrainer(config, data, seed, patience)
    if state_file is not None and state_file.is_file():
        trainer.restore(state_file)
        log.info("%s: goes on from epoch %d", state_file, trainer.epoch)
    title = "seed hybrid" if config.hybrid else "seed metrics-only"
    with tqdm(total=config.epochs, initial=trainer.epoch, desc=title, unit="epoch") as progress:
        while not trainer.finished:
            trainer.train_epoch()
            progress.update()
            if state_file is not None and (trainer.epoch % SAVE_EVERY == 0 or trainer.finished):
                trainer.save(state_file)
    model = SeedVAE(config)
    model.load_state_dict(trainer.best)
    history = pd.DataFrame(trainer.losses, columns=["epoch", "train", "validation"])
    return SeedTraining(model.eval(), history)
