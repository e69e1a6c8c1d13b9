"""Training the seed's model: its published loop, made resumable and as fast as two cores allow."""

import logging
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils import get_total_norm
from tqdm import tqdm

from epsvae.atomic import replacing
from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData, embeddings_of, key_weights, metrics_of
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE, seed_loss

log = logging.getLogger(__name__)

SAVE_EVERY = 10
"""Epochs between two saves of a training that can be picked up again."""

TERMS = ("total", "prediction", "embedding", "metric", "kl")


def train_seed(
    config: SeedConfig,
    data: MapData,
    seed: int,
    progress: bool = True,
    max_epochs: int | None = None,
    patience: int = 20,
    checkpoint_path: Path | str | None = None,
) -> tuple[SeedVAE, pd.DataFrame]:
    """Train a seed model; return that of the best epoch, in evaluation mode, and the history.

    The best epoch has the smallest prediction loss on the validation runs; the test runs are never
    read. One deviation from the published loop: training stops after `patience` epochs without a
    better one (or after `max_epochs`), while the cosine schedule still runs towards
    `config.epochs`. That changes the result only where a later epoch would have been the best.

    History: one row an epoch with ``epoch, lr, seconds`` and, for train and validation each, the
    terms of the loss (``train_total`` … ``validation_kl``). A killed training goes on from
    `checkpoint_path`, saved every `SAVE_EVERY` epochs, to the result of an unbroken one; about
    0.8 GB. The caller's random state is left alone. Raises EpsvaeError if the file belongs to
    another training.
    """
    path = None if checkpoint_path is None else Path(checkpoint_path)
    last = config.epochs if max_epochs is None else min(max_epochs, config.epochs)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        training = _Training(config, seed, path)
        bar = tqdm(
            desc="seed" if path is None else path.stem,
            initial=training.epoch,
            total=last,
            unit="epoch",
            disable=not progress,
        )
        while training.epoch < last and training.waited < patience:
            training.one_epoch(data)
            ends = training.epoch == last or training.waited >= patience
            if path is not None and (ends or training.epoch % SAVE_EVERY == 0):
                training.save(path)
            bar.update()
            bar.set_postfix(best=f"{training.best_loss:.5f}", waited=training.waited)
        bar.close()
        training.model.load_state_dict(training.best)
    return training.model.eval(), pd.DataFrame(training.history)


class _Training:
    """The state of one training: model, optimiser, best epoch so far, history."""

    def __init__(self, config: SeedConfig, seed: int, path: Path | None) -> None:
        self.config, self.identity = config, {"seed": seed, **_plain(config)}
        self.model = SeedVAE(config)
        self.optimiser = torch.optim.AdamW(
            self.model.parameters(), config.lr, weight_decay=config.weight_decay, fused=True
        )
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimiser, config.epochs)
        self.buffer = torch.empty(config.hidden[0], config.n_weights)
        self.epoch, self.waited, self.best_loss = 0, 0, float("inf")
        self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.history: list[dict[str, float]] = []
        if path is not None and path.is_file():
            self._resume(path)

    def one_epoch(self, data: MapData) -> None:
        """Train on every training checkpoint once, then look at the validation runs."""
        start, lr = time.perf_counter(), self.optimiser.param_groups[0]["lr"]
        trained = self._train(data.train)
        self.schedule.step()
        validated = self._validate(data.validation)
        self.epoch, self.waited = self.epoch + 1, self.waited + 1
        if validated["prediction"] < self.best_loss:
            self.best_loss, self.waited = validated["prediction"], 0
            for name, value in self.model.state_dict().items():
                self.best[name].copy_(value)
        row = {"epoch": self.epoch, "lr": lr, "seconds": time.perf_counter() - start}
        row |= {f"train_{term}": value for term, value in trained.items()}
        self.history.append(row | {f"validation_{term}": v for term, v in validated.items()})

    def _train(self, split: ExtractedSplit) -> dict[str, float]:
        self.model.train()
        total = torch.zeros(len(TERMS))
        order = torch.randperm(len(split.metrics))
        for weights, embeddings, metrics in self._batches(split, order):
            terms = self._gradients(weights, embeddings, metrics)
            self._clip()
            self.optimiser.step()
            total += len(weights) * terms
        return _named(total / len(order))

    def _gradients(
        self,
        weights: Float[Tensor, "n weights"],
        embeddings: Float[Tensor, "n anchors dim"],
        metrics: Float[Tensor, "n 3"],
    ) -> Float[Tensor, "terms"]:
        """Fill the gradients of a batch; return the terms of its loss.

        The first layer's gradient, 196 MB, goes into one buffer for the whole training: autograd
        would ask the system for fresh pages in every step, a third of the step's time.
        """
        first = self.model.encoder.first
        self.optimiser.zero_grad()
        with torch.no_grad():
            hidden = first(weights)
        hidden.requires_grad_()
        loss = seed_loss(self.model, self.model.encoder.read(hidden), embeddings, metrics)
        loss.total(self.config).backward()
        first.weight.grad = torch.mm(hidden.grad.T, weights, out=self.buffer)
        first.bias.grad = hidden.grad.sum(0)
        return _terms(loss, self.config)

    def _clip(self) -> None:
        """As `clip_grad_norm_`, but the gradients are written again only where they are clipped."""
        gradients = [p.grad for p in self.model.parameters() if p.grad is not None]
        norm = get_total_norm(gradients)
        if norm > self.config.clip:
            torch._foreach_mul_(gradients, self.config.clip / (norm.item() + 1e-6))

    @torch.no_grad()
    def _validate(self, split: ExtractedSplit) -> dict[str, float]:
        self.model.eval()
        total = torch.zeros(len(TERMS))
        for weights, embeddings, metrics in self._batches(split, torch.arange(len(split.metrics))):
            loss = seed_loss(self.model, self.model.posterior(weights), embeddings, metrics)
            total += len(weights) * _terms(loss, self.config)
        return _named(total / len(split.metrics))

    def _batches(
        self, split: ExtractedSplit, order: Tensor
    ) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for batch in order.split(self.config.batch_size):
            rows = batch.numpy()
            yield key_weights(split, rows), embeddings_of(split, rows), metrics_of(split, rows)

    def save(self, path: Path) -> None:
        """Write everything that the next epoch depends on, at once.

        Raises EpsvaeError if it cannot be written; what was there stays.
        """
        contents = {name: getattr(self, name) for name in _PLAIN}
        contents |= {name: getattr(self, name).state_dict() for name in _STATEFUL}
        try:
            with replacing(path) as temporary:
                torch.save(contents | {"rng": torch.get_rng_state()}, temporary)
        except (OSError, RuntimeError) as error:  # the latter is torch's for a full disk
            raise EpsvaeError(f"{path}: cannot be written (full disk?): {error}") from error

    def _resume(self, path: Path) -> None:
        contents: dict[str, Any] = torch.load(path, weights_only=True, mmap=True)
        if contents["identity"] != self.identity:
            raise EpsvaeError(
                f"{path}: expected a training of {self.identity}, found {contents['identity']}"
            )
        for name in _STATEFUL:
            getattr(self, name).load_state_dict(contents[name])
        for name in _PLAIN:
            setattr(self, name, contents[name])
        self.best = {name: value.clone() for name, value in self.best.items()}
        torch.set_rng_state(contents["rng"].clone())
        log.info("%s: training goes on after epoch %d", path, self.epoch)


_PLAIN = ("identity", "epoch", "waited", "best_loss", "best", "history")
_STATEFUL = ("model", "optimiser", "schedule")


def _plain(config: SeedConfig) -> dict[str, Any]:
    return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(config).items()}


def _terms(loss: Any, config: SeedConfig) -> Float[Tensor, "terms"]:
    values = (loss.total(config), loss.prediction(config), loss.embedding, loss.metric, loss.kl)
    return torch.stack([value.detach() for value in values])


def _named(values: Float[Tensor, "terms"]) -> dict[str, float]:
    return dict(zip(TERMS, values.tolist(), strict=True))
