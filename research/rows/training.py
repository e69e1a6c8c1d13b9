"""Rows that learn from scratch: Adam, one cycle, the best epoch on validation; and one of them."""

import copy
import logging
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.subjects.ternary import N_TRITS, Architecture, decode, encode, project
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData, Rows, all_weights
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.network import TRIT_VALUES, State
from research.rows.row import Predictor
from research.rows.targets import Targets, fit_targets

log = logging.getLogger(__name__)

READ_BATCH = 64
N_PROBES, SEED_DIM, HIDDEN = 64, 32, 32


@dataclass(frozen=True)
class Training:
    """How a network is trained: the learning rate rises to `lr`, then falls to 0."""

    epochs: int
    lr: float
    batch_size: int = 32


TRAINING = Training(epochs=80, lr=5e-4)
"""Of the probe-only encoder."""


def train_network(
    network_class: Callable[[int, int], nn.Module], data: MapData, training: Training, seed: int
) -> Predictor:
    """Train a network from weights to `Targets.of`; predict with its best epoch.

    It is built for a number of outputs and a dimension of the ball, and called with (state,
    architecture, max radius) of stacked checkpoints. The caller's random state is left alone.
    """
    targets = fit_targets(data.train)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = network_class(targets.n_codes + len(targets.shift), targets.shape[1])
        _train(network, data, targets, training)
    network.eval()

    @torch.no_grad()
    def predict(split: ExtractedSplit) -> Prediction:
        return targets.prediction(_outputs(network, split))

    return predict


def _train(network: nn.Module, data: MapData, targets: Targets, training: Training) -> None:
    """Leaves the network as it was after the epoch with the smallest validation loss.

    No epoch is left out: most of the gain comes while the learning rate falls.
    """
    wanted, held_out = targets.of(data.train), targets.of(data.validation)
    loss = ShareUnexplained(wanted, targets.n_codes)
    optimiser = torch.optim.AdamW(network.parameters(), training.lr, weight_decay=1e-3)
    steps = training.epochs * -(-len(wanted) // training.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, training.lr, total_steps=steps)
    best, best_loss = copy.deepcopy(network.state_dict()), float("inf")
    for epoch in range(training.epochs):
        network.train()
        for rows in torch.randperm(len(wanted)).split(training.batch_size):
            if len(rows) < 2:  # batch statistics need two
                continue
            rows = rows.sort().values
            optimiser.zero_grad()
            loss(_read(network, data.train, rows.numpy()), wanted[rows]).backward()
            nn.utils.clip_grad_norm_(network.parameters(), 1.0)
            optimiser.step()
            schedule.step()
        found = _held_out_loss(network, data.validation, held_out, loss)
        log.info("epoch %d: validation loss %.4f", epoch + 1, found)
        if found < best_loss:
            best, best_loss = copy.deepcopy(network.state_dict()), found
    network.load_state_dict(best)


class ShareUnexplained:
    """Squared errors as shares of the training checkpoints' variance: codes plus metrics."""

    def __init__(self, wanted: Float[Tensor, "n outputs"], n_codes: int) -> None:
        variance = wanted.var(0)
        scale = torch.empty_like(variance)
        scale[:n_codes] = variance[:n_codes].sum()
        scale[n_codes:] = variance[n_codes:] * (len(variance) - n_codes)
        self.scale = scale

    def __call__(
        self, found: Float[Tensor, "n outputs"], wanted: Float[Tensor, "n outputs"]
    ) -> Float[Tensor, ""]:
        """Mean over checkpoints."""
        return ((found - wanted).square() / self.scale).sum(1).mean()


@torch.no_grad()
def _held_out_loss(
    network: nn.Module,
    split: ExtractedSplit,
    wanted: Float[Tensor, "n outputs"],
    loss: ShareUnexplained,
) -> float:
    network.eval()
    return loss(_outputs(network, split), wanted).item()


def _outputs(network: nn.Module, split: ExtractedSplit) -> Float[Tensor, "n outputs"]:
    starts = np.arange(0, len(split.metrics), READ_BATCH)
    return torch.cat([_read(network, split, slice(s, s + READ_BATCH)) for s in starts])


def _read(network: nn.Module, split: ExtractedSplit, rows: Rows) -> Float[Tensor, "n outputs"]:
    vectors = all_weights(split, rows)
    outputs: Tensor = network(split.layout.unflatten(vectors), split.architecture, vectors[:, -1])
    return outputs


def head(n_features: int, n_outputs: int, width: int = 256, dropout: float = 0.1) -> nn.Sequential:
    """Features, standardised by batch, to outputs."""
    return nn.Sequential(
        nn.BatchNorm1d(n_features, affine=False),
        nn.Linear(n_features, width),
        nn.SiLU(),
        nn.Dropout(dropout),
        nn.Linear(width, n_outputs),
    )


class ProbeEncoder(nn.Module):
    """A probe-only encoder (after ProbeGen, Kahana et al., 2024), for any widths and depths.

    Probe inputs come out of a deep linear generator, pass through the checkpoint's encoder A, its
    projection A and its decoder, and a perceptron reads the answers: invariant to permuted hidden
    units. The default map's sweep is its relative; what this row lacks is the closed form to start
    from.
    """

    def __init__(self, n_outputs: int, dim: int, n_probes: int = N_PROBES) -> None:
        super().__init__()
        self.seeds = nn.Parameter(torch.randn(n_probes, SEED_DIM))
        self.generator = nn.Sequential(nn.Linear(SEED_DIM, HIDDEN), nn.Linear(HIDDEN, N_TRITS))
        self.head = head(n_probes * (dim + N_TRITS * TRIT_VALUES), n_outputs)

    def forward(
        self, state: State, architecture: Architecture, max_radius: Float[Tensor, "n"]
    ) -> Float[Tensor, "n outputs"]:
        """Outputs of n stacked checkpoints."""
        mu = encode(state, architecture, self.generator(self.seeds)[None])
        points = project(state, architecture, mu, max_radius.view(-1, 1, 1))
        logits = decode(state, architecture, mu)
        return self.head(torch.cat([points.flatten(1), logits.flatten(1)], dim=1))


def probe_encoder(data: MapData, seed: int, training: Training | None = None) -> Predictor:
    """Train a probe-only encoder."""
    return train_network(ProbeEncoder, data, training or TRAINING, seed)
