"""Steer: climb in z by what the decoded network does, not by what the map predicts of it.

z becomes weights, the weights run on a batch of operations, and a goal says how good that was. All
of it is differentiable, so the gradient comes back to z. The way is a step in the hill of the
density around the start, in units of the hill's own spread: however long the climb, it ends no
farther out than a new point that the density itself would draw.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from torch import Tensor

from epsvae.errors import EpsvaeError
from epsvae.map.calibrated import look_on_map
from epsvae.subjects.ternary import (
    N_OPERATIONS,
    Architecture,
    decode,
    encode,
    operation_trits,
    project,
)
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.library.layout import MAX_RADIUS
from epsvae.subjects.ternary.map.look import TernaryMap, epsilon_vae
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.network import State
from epsvae.subjects.ternary.uses.decode import virtual_checkpoint
from epsvae.subjects.ternary.uses.goals import Goal, Run
from epsvae.uses.average import nearest
from epsvae.uses.density import Density

FAR = 50.0
"""Standard deviations of the nearest hill beyond which a start is not on the map: nearly all
validation checkpoints are nearer, nearly all draws of a standard normal law are farther away."""


@dataclass(frozen=True)
class Steering:
    """How to climb: Adam, whose step falls from `lr` to 0 along a cosine."""

    steps: int = 150
    lr: float = 0.2
    """In standard deviations of the hill."""
    n_operations: int = 256
    """Operations in each batch, drawn anew for each step."""
    reach: float | None = None
    """Largest distance from the start, in standard deviations of the hill. By default the root of
    z's dimension: the distance of a typical point that the hill would draw."""


def steer(
    model: EpsilonVAE,
    start: Float[Tensor, "n latent"],
    goal: Goal,
    density: Density,
    generator: torch.Generator,
    steering: Steering | None = None,
) -> Float[Tensor, "n latent"]:
    """z of networks that reach a goal better than those at `start`, within the density's hills.

    About 3 ms a step and point on one core. After a hundred steps the last digits depend on the
    processor: keep the z that was found, not the seed. Raises EpsvaeError for a map without a
    weight decoder, for NaN, and for a start where there is no hill.
    """
    if model.weight_decoder is None:
        raise EpsvaeError("steer: expected a map with a weight decoder, found one without")
    steering, decoder = steering or Steering(), model.weight_decoder
    reach = steering.reach or start.shape[-1] ** 0.5
    hill = hills(start, density)
    step = torch.zeros_like(start, requires_grad=True)

    def moved() -> Float[Tensor, "n latent"]:
        return start + (hill @ step.unsqueeze(-1)).squeeze(-1)

    def keep_near() -> None:
        step.mul_((reach / step.norm(dim=-1, keepdim=True).clamp_min(1e-12)).clamp_max(1.0))

    def state() -> State:
        return decoder.state(moved())

    descend([step], state, goal, decoder.architecture, generator, steering, keep_near)
    return moved().detach()


def descend(
    parameters: list[Tensor],
    state: Callable[[], State],
    goal: Goal,
    architecture: Architecture,
    generator: torch.Generator,
    steering: Steering,
    after: Callable[[], None] = lambda: None,
) -> None:
    """Change parameters in place so that the networks of `state` come nearer to a goal.

    `state` gives a stack of networks with their max radii, and is asked in each step. With the
    weights themselves as parameters this is ordinary training, without a map. Raises EpsvaeError
    for a loss that is not finite.
    """
    optimiser = torch.optim.Adam(parameters, steering.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steering.steps)
    for _ in range(steering.steps):
        index = torch.randperm(N_OPERATIONS, generator=generator)[: steering.n_operations]
        loss = goal(run_on(state(), architecture, index)).sum()
        if not loss.isfinite():
            raise EpsvaeError(f"goal: expected a finite loss, found {loss.item()}")
        for parameter, grad in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
            parameter.grad = grad
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            after()


def run_on(state: State, architecture: Architecture, index: Int[Tensor, "ops"]) -> Run:
    """Run a stack of networks on some operations."""
    means = encode(state, architecture, operation_trits(index))
    points = project(state, architecture, means, state[MAX_RADIUS].unsqueeze(-1))
    return Run(points, decode(state, architecture, means), index)


def hills(start: Float[Tensor, "n latent"], density: Density) -> Float[Tensor, "n latent latent"]:
    """Cholesky factors of the hills that starts lie on: those of the nearest known checkpoints.

    Raises EpsvaeError for NaN and for a start that is `FAR` from it.
    """
    if not start.isfinite().all():
        raise EpsvaeError("start: expected finite coordinates, found NaN or infinity")
    rows = nearest(start.double(), density.centres)[:, 0]
    offset = (start.double() - density.centres[rows]).unsqueeze(-1)
    scaled = torch.linalg.solve_triangular(density.factors[rows], offset, upper=False)
    distance = scaled.squeeze(-1).norm(dim=-1)
    if (distance > FAR).any():
        bad = (distance > FAR).nonzero().flatten().tolist()
        raise EpsvaeError(
            f"start: expected points within {FAR:.0f} standard deviations of a known checkpoint, "
            f"found rows {bad} farther away"
        )
    return density.factors[rows].float()


def steer_files(
    asked: TernaryMap,
    files: list[Path],
    goal: Goal,
    density: Density,
    generator: torch.Generator,
    steering: Steering | None = None,
) -> list[Checkpoint]:
    """Virtual checkpoints steered from real ones, for `save_checkpoint`; each names its source.

    They start from the map's image of a file: the decoder does not keep the file's own weights.
    Raises CheckpointError for a file that cannot be read, EpsvaeError for one that is off the map:
    far from all known checkpoints, or flagged. No files give no checkpoints.
    """
    if not files:
        return []
    model = epsilon_vae(asked)
    start = torch.stack([look_on_map(asked, asked.open(file), file).z for file in files])
    found = steer(model, start, goal, density, generator, steering)
    sources = [{"source": str(file), "method": "steered"} for file in files]
    return [
        virtual_checkpoint(model, z, provenance=source)
        for z, source in zip(found, sources, strict=True)
    ]
