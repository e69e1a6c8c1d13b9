"""A probe-only encoder (after ProbeGen, Kahana et al., 2024), trained from scratch.

Probe inputs come out of a deep linear generator, pass through the checkpoint's encoder A, its
projection A and its decoder, and a perceptron reads the answers. The default map's sweep is its
relative; what this row lacks is the closed form to start from.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.subjects.ternary import N_TRITS, Architecture, decode, encode, project
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.network import TRIT_VALUES, State
from research.rows.row import Predictor
from research.rows.targets import Targets
from research.rows.training import Training, head, train_network

N_PROBES = 64
SEED_DIM, HIDDEN = 32, 32
TRAINING = Training(epochs=80, lr=5e-4)


class ProbeEncoder(nn.Module):
    """Checkpoints to outputs; invariant to permuted hidden units, for any widths and depths."""

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

    def build(targets: Targets) -> nn.Module:
        return ProbeEncoder(targets.n_codes + len(targets.shift), targets.shape[1])

    return train_network(build, data, training or TRAINING, seed)
