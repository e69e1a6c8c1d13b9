"""Readers: from summaries of a checkpoint's replies to its metrics, on their linked scale.

Four read each metric: the weighed count of the probes by itself, and what a ridge regression, a
Gaussian process (its mean: kernel ridge regression) and trees add to it. Where there is no count
they start from the training mean. What a map says is a mean of them, weighed on runs that none of
them was fitted to.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.map.forest import Forest, grow_forest
from epsvae.map.half import rounded
from epsvae.map.ridge import fit_ridge, gaussian_kernel

READERS = ("count", "ridge", "kernel", "trees")
TREES = READERS.index("trees")
WIDTHS = (0.5, 1.0, 2.0, 4.0)
"""Of the kernel, relative to the root mean square norm of the training rows."""
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
MOST_CENTRES = 2048
"""Training checkpoints that the kernel is centred on."""
STEPS = 4
"""Weights of the mean are multiples of 1 / `STEPS`."""
FURTHEST = 6.0
"""Standard deviations beyond which a summary counts as that far."""
TINY = 1e-6


@dataclass(frozen=True)
class Choices:
    """What validation runs chose, for each metric."""

    ridge: tuple[float, ...]
    """Strengths."""
    kernel: tuple[tuple[float, float], ...]
    """(width, strength)."""


class Readers(nn.Module):
    """(summaries, counts) -> metrics on the linked, standardised scale."""

    mean: Tensor
    spread: Tensor
    centres: Tensor
    dual: Tensor
    width: Tensor
    weights: Tensor
    forests: Sequence[Forest]

    def __init__(
        self, n_features: int, n_metrics: int, n_centres: int, n_nodes: Sequence[int]
    ) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(n_features))
        self.register_buffer("spread", torch.ones(n_features))
        self.ridge = nn.Linear(n_features, n_metrics)
        self.register_buffer("centres", torch.zeros(n_centres, n_features))
        self.register_buffer("dual", torch.zeros(n_centres, n_metrics))
        self.register_buffer("width", torch.ones(n_metrics))
        self.forests = nn.ModuleList([Forest(n) for n in n_nodes])  # type: ignore[assignment]
        self.register_buffer("weights", torch.zeros(len(READERS), n_metrics))

    def weigh(self, weights: Float[Tensor, "readers metrics"]) -> None:
        """Set the weights; trees that count for nothing are felled."""
        self.weights.copy_(weights)
        kept = zip(self.forests, weights[TREES].tolist(), strict=True)
        forests = [forest if weight > 0 else Forest(1) for forest, weight in kept]
        self.forests = nn.ModuleList(forests)  # type: ignore[assignment]

    def standardise(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n features"]:
        """Features with mean 0 and spread 1 on training rows, none further than `FURTHEST`."""
        return ((x - self.mean) / self.spread).clamp(-FURTHEST, FURTHEST)

    def each(
        self, x: Float[Tensor, "n features"], counts: Float[Tensor, "n metrics"]
    ) -> Float[Tensor, "readers n metrics"]:
        """What each reader says; `counts` are on the scale of the result, NaN where none is."""
        z = self.standardise(x)
        kernels = [gaussian_kernel(z, self.centres, width) for width in self.width]
        kernel = torch.stack([k @ d for k, d in zip(kernels, self.dual.T, strict=True)], 1)
        trees = torch.stack([forest(x) for forest in self.forests], 1)
        base = counts.nan_to_num(nan=0.0)
        return torch.stack([base, base + self.ridge(z), base + kernel, base + trees])

    def forward(
        self, x: Float[Tensor, "n features"], counts: Float[Tensor, "n metrics"]
    ) -> Float[Tensor, "n metrics"]:
        """The weighed mean of all readers."""
        return (self.each(x, counts) * self.weights[:, None]).sum(0)


@torch.no_grad()
def fit_readers(
    x: Float[Tensor, "n features"], y: Float[Tensor, "n metrics"], choices: Choices, seed: int
) -> Readers:
    """Readers of some training rows, not yet weighed; all randomness comes from the seed."""
    forests = [grow_forest(x, column, seed) for column in y.T]
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    centred_on = order[:MOST_CENTRES].sort().values
    n_nodes = [len(forest.number) for forest in forests]
    readers = Readers(x.shape[1], y.shape[1], len(centred_on), n_nodes)
    readers.forests = nn.ModuleList(forests)  # type: ignore[assignment]
    readers.mean.copy_(x.mean(0))
    readers.spread.copy_(x.std(0) + TINY)
    z = readers.standardise(x)
    for metric, strength in enumerate(choices.ridge):
        layer, rows = nn.Linear(z.shape[1], 1), (z, y[:, [metric]])
        fit_ridge(layer, rows, rows, (strength,))
        readers.ridge.weight[metric], readers.ridge.bias[metric] = layer.weight[0], layer.bias[0]
    readers.centres.copy_(rounded(z[centred_on]))
    scale = _scale(readers.centres)
    solved = {
        width: _eigen(gaussian_kernel(readers.centres, readers.centres, width * scale))
        for width in {width for width, _ in choices.kernel}
    }
    for metric, (width, strength) in enumerate(choices.kernel):
        readers.width[metric] = width * scale
        readers.dual[:, metric] = _dual(*solved[width], y[centred_on][:, metric], strength)
    return readers


@torch.no_grad()
def choose(
    train: tuple[Float[Tensor, "n features"], Float[Tensor, "n metrics"]],
    validation: tuple[Float[Tensor, "m features"], Float[Tensor, "m metrics"]],
) -> Choices:
    """Strengths and widths with the smallest squared error on validation rows."""
    (x, y), (held_x, held_y) = train, validation
    mean, spread = x.mean(0), x.std(0) + TINY
    z, held_z = (((v - mean) / spread).clamp(-FURTHEST, FURTHEST) for v in (x, held_x))
    columns = range(y.shape[1])
    ridge = tuple(
        fit_ridge(nn.Linear(z.shape[1], 1), (z, y[:, [m]]), (held_z, held_y[:, [m]]))
        for m in columns
    )
    centres, targets = z[:MOST_CENTRES], y[:MOST_CENTRES]
    best = [(torch.inf, (WIDTHS[0], STRENGTHS[0]))] * y.shape[1]
    for width in WIDTHS:
        wide = width * _scale(centres)
        solved = _eigen(gaussian_kernel(centres, centres, wide))
        kernel = gaussian_kernel(held_z, centres, wide)
        for strength in STRENGTHS:
            predicted = torch.stack([kernel @ _dual(*solved, t, strength) for t in targets.T], 1)
            errors = (predicted - held_y).square().mean(0).tolist()
            best = [min(b, (e, (width, strength))) for b, e in zip(best, errors, strict=True)]
    return Choices(ridge, tuple(choice for _, choice in best))


def simplex(n_parts: int = len(READERS), steps: int = STEPS) -> Float[Tensor, "mixtures parts"]:
    """Every way to share a weight of 1 in multiples of 1 / steps."""
    rows = list(combinations_with_replacement(range(n_parts), steps))
    counts = [[row.count(part) / steps for part in range(n_parts)] for row in rows]
    return torch.tensor(counts)


def _scale(z: Float[Tensor, "n features"]) -> float:
    return float(z.square().sum(1).mean().sqrt()) + TINY


def _eigen(kernel: Float[Tensor, "n n"]) -> tuple[Tensor, Tensor]:
    values, vectors = torch.linalg.eigh(kernel.double())
    return values.clamp_min(0), vectors


def _dual(
    values: Float[Tensor, "n"],
    vectors: Float[Tensor, "n n"],
    y: Float[Tensor, "n"],
    strength: float,
) -> Float[Tensor, "n"]:
    return (vectors @ (vectors.T @ y.double() / (values + strength))).float()
