"""The factory: many runs trained together as stacked tensors.

All parameters of R runs lie in one (R, P) buffer, the gradients in a second one of the same shape;
the layers are views into both. One batched matrix product then serves all runs, and one fused Adam
call steps them, each with its own learning rate. What never moves is encoded once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import (
    N_OPERATIONS,
    Architecture,
    Metrics,
    all_operations,
    decode,
    encode,
    evaluate,
    geodesic_loss,
    init_state,
    kl_divergence,
    linear,
    project,
    radial_loss,
    reconstruction_loss,
    trunk,
)
from research.ternary.recipes import BATCH_SIZE, STEPS_PER_EPOCH, BaseRecipe, Recipe
from research.ternary.stack import RunOptimiser, Stack, State

BASE_CHECK_EVERY = 100
CHUNK = 2048
"""Operations encoded at a time: few enough that they stay in a core's cache."""


@dataclass(frozen=True)
class Snapshot:
    """One checkpoint as it leaves the factory."""

    recipe: Recipe
    epoch: float
    state: State
    metrics: Metrics


def train_base(recipe: BaseRecipe) -> State:
    """Train a base VAE: both encoders reconstruct through the one decoder."""
    architecture = recipe.architecture
    generator = torch.Generator().manual_seed(recipe.seed)
    state = init_state(architecture, generator)
    names = [n for n in state if not n.startswith("projection")]
    stack = Stack([state], names)
    optimiser = torch.optim.Adam([stack.block(0, "")], lr=recipe.lr, fused=True)
    coverage = float("nan")
    for step in range(1, recipe.max_steps + 1):
        batch = torch.randint(N_OPERATIONS, (BATCH_SIZE,), generator=generator)
        trits = all_operations()[batch]
        stack.backward(_vae_loss(stack.layers, architecture, trits, recipe, generator))
        optimiser.step()
        if step % BASE_CHECK_EVERY == 0 or step == recipe.max_steps:
            coverage = evaluate(state | stack.state(0), architecture, 0.95).coverage
            if coverage >= recipe.target_coverage:
                return state | stack.state(0)
    raise LibraryError(
        f"base {recipe.name!r}: expected coverage >= {recipe.target_coverage} within "
        f"{recipe.max_steps} steps, found {coverage:.4f}"
    )


def _vae_loss(
    layers: State,
    architecture: Architecture,
    trits: Float[Tensor, "n 9"],
    recipe: BaseRecipe,
    generator: torch.Generator,
) -> Tensor:
    """Reconstruction + KL of both encoders, from sampled latents."""
    loss = torch.zeros(())
    for encoder in "AB":
        hidden = trunk(layers, architecture, trits, encoder)
        mu = linear(layers, f"encoder_{encoder}.fc_mu", hidden)
        logvar = linear(layers, f"encoder_{encoder}.fc_logvar", hidden)
        noise = torch.randn(mu.shape, generator=generator)
        logits = decode(layers, architecture, mu + (0.5 * logvar).exp() * noise)
        loss = loss + reconstruction_loss(logits, trits).sum()
        loss = loss + recipe.kl_weight * kl_divergence(mu, logvar).sum()
    return loss


def initial_state(recipe: Recipe, base: State) -> State:
    """The base's encoders and decoder with the recipe's projection init."""
    fresh = init_state(recipe.architecture, torch.Generator().manual_seed(recipe.init_seed))
    projections = {k: v for k, v in fresh.items() if k.startswith("projection")}
    return dict(base) | projections


def train_runs(
    recipes: Sequence[Recipe], bases: Sequence[State], save: Callable[[Snapshot], None]
) -> None:
    """Train runs of one architecture, length and set of moving blocks; `save` gets checkpoints.

    Frozen encoders are encoded once for all operations and looked up afterwards.
    """
    starts = [initial_state(r, b) for r, b in zip(recipes, bases, strict=True)]
    moving = ("projection", *recipes[0].encoder_lr_scales)
    stack = Stack(starts, [name for name in starts[0] if name.startswith(moving)])
    loss = RunLoss(recipes, starts)
    optimiser = RunOptimiser(recipes, stack)
    for step in range(1, recipes[0].steps + 1):
        stack.backward(loss(stack.layers).sum())
        optimiser.step(step)
        if step % recipes[0].steps_per_checkpoint == 0:
            for run, (recipe, start) in enumerate(zip(recipes, starts, strict=True)):
                state = start | stack.state(run)
                metrics = evaluate(state, recipe.architecture, recipe.max_radius)
                optimiser.observe(run, metrics.coverage)
                save(Snapshot(recipe, step / STEPS_PER_EPOCH, state, metrics))


class RunLoss:
    """The losses of R runs on their next batches, one value a run."""

    def __init__(self, recipes: Sequence[Recipe], starts: Sequence[State]) -> None:
        self.architecture = recipes[0].architecture
        self.order = [torch.Generator().manual_seed(r.seed) for r in recipes]
        self.max_radius = torch.tensor([r.max_radius for r in recipes]).view(-1, 1, 1)
        self.radial = torch.tensor([r.radial_weight for r in recipes])
        self.geodesic = torch.tensor([r.geodesic_weight for r in recipes])
        self.reconstruction = torch.tensor([r.reconstruction_weight for r in recipes])
        self.decoders = {
            name: torch.stack([start[name] for start in starts])
            for name in starts[0]
            if name.startswith("decoder")
        }
        self.frozen_means = {
            encoder: torch.stack([encode_all(s, self.architecture, encoder) for s in starts])
            for encoder in "AB"
            if f"encoder_{encoder}" not in recipes[0].encoder_lr_scales
        }

    def __call__(self, layers: State) -> Float[Tensor, "runs"]:
        index = torch.stack(
            [torch.randint(N_OPERATIONS, (BATCH_SIZE,), generator=g) for g in self.order]
        )
        total = torch.zeros(len(self.order))
        for encoder in "AB":
            mu = self._means(layers, index, encoder)
            points = project(layers, self.architecture, mu, self.max_radius, encoder)
            total = total + self.geodesic * geodesic_loss(points, index)
            total = total + self.radial * radial_loss(points, index)
            if encoder == "A" and self.reconstruction.any():
                logits = decode(self.decoders, self.architecture, mu)
                loss = reconstruction_loss(logits, all_operations()[index])
                total = total + self.reconstruction * loss
        return total

    def _means(
        self, layers: State, index: Int[Tensor, "runs n"], encoder: str
    ) -> Float[Tensor, "runs n latent"]:
        if encoder not in self.frozen_means:
            return encode(layers, self.architecture, all_operations()[index], encoder)
        table = self.frozen_means[encoder]
        rows = index + N_OPERATIONS * torch.arange(len(table)).unsqueeze(1)
        return table.flatten(0, 1).index_select(0, rows.flatten()).view(*index.shape, -1)


@torch.no_grad()
def encode_all(
    state: State, architecture: Architecture, encoder: str = "A"
) -> Float[Tensor, "19683 latent"]:
    """Mean of every operation."""
    chunks = all_operations().split(CHUNK)
    return torch.cat([encode(state, architecture, trits, encoder) for trits in chunks])
