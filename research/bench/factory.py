"""The factory's benchmarks: the full evaluation, and the stacked loop beside the plain one."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch
from joblib import Parallel, delayed
from torch import Tensor

from epsvae.subjects.ternary import (
    N_OPERATIONS,
    TernaryVAE,
    all_operations,
    encode,
    evaluate,
    geodesic_loss,
    project,
    radial_loss,
)
from epsvae.subjects.ternary.map.files import AnyMap
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.uses.decode import realise
from research.bench.timing import Timing, time_calls
from research.ternary.factory import RunLoss, initial_state, train_base
from research.ternary.recipes import BATCH_SIZE, BaseRecipe, Recipe, Regime, draw_recipe
from research.ternary.stack import RunOptimiser, Stack

STACK_SIZE = 8
STEPS = 30
N_POINTS = 500
"""Points of the map that are realised in one call: starting the threads hardly counts then."""
REGIMES: tuple[Regime, ...] = ("frozen", "progressive", "unfrozen")


def benchmark(n_jobs: int = 2, model: AnyMap | None = None) -> pd.DataFrame:
    """All benchmarks; columns what, milliseconds, low, high, note.

    With a map that decodes weights, virtual checkpoints are realised, too: milliseconds a point are
    seconds a thousand.
    """
    torch.set_num_threads(1)
    base = train_base(BaseRecipe())
    rows = [("full evaluation of a checkpoint", _evaluation(base), "one core")]
    for regime in REGIMES:
        plain = time_calls(_plain_loop(regime, base), repeats=3)
        rows.append((f"{regime}: plain loop, a run-step", plain.per(STEPS), "one core"))
        stacked = _stacked(regime, base)
        rows.append((f"{regime}: stacked, a run-step", stacked, "one core"))
        both = _side_by_side(regime, base, n_jobs)
        rows.append((f"{regime}: stacked, a run-step", both, f"{n_jobs} processes side by side"))
    if isinstance(model, EpsilonVAE) and model.weight_decoder is not None:
        note = f"{n_jobs} threads side by side"
        rows.append(("a virtual checkpoint, decoded and run", _realising(model, n_jobs), note))
    return pd.DataFrame(
        [(what, t.median, t.low, t.high, note) for what, t, note in rows],
        columns=["what", "milliseconds", "low", "high", "note"],
    )


def _evaluation(base: dict[str, Tensor]) -> Timing:
    state, recipe = base, BaseRecipe()
    return time_calls(lambda: evaluate(state, recipe.architecture, 0.95))


def _realising(model: EpsilonVAE, n_jobs: int) -> Timing:
    generator = torch.Generator().manual_seed(0)
    z = model.prior_std * torch.randn(N_POINTS, model.config.latent_dim, generator=generator)
    return time_calls(lambda: realise(model, z, n_jobs), repeats=3).per(N_POINTS)


def _recipes(regime: Regime, n: int) -> list[Recipe]:
    rng = np.random.default_rng(0)
    names = [f"bench-{i}" for i in range(n)]
    return [
        draw_recipe(regime, rng, name=name, library="bench", split="test", started=0)
        for name in names
    ]


def _stacked(regime: Regime, base: dict[str, Tensor]) -> Timing:
    """A step of the factory's loop, per run; encoders count as released from the start."""
    recipes = _recipes(regime, STACK_SIZE)
    starts = [initial_state(recipe, base) for recipe in recipes]
    moving = ("projection", *recipes[0].encoder_lr_scales)
    stack = Stack(starts, [name for name in starts[0] if name.startswith(moving)])
    loss, optimiser = RunLoss(recipes, starts), RunOptimiser(recipes, stack)

    def step() -> None:
        stack.backward(loss(stack.layers).sum())
        optimiser.step(recipes[0].steps)

    return time_calls(step, repeats=STEPS).per(STACK_SIZE)


def _side_by_side(regime: Regime, base: dict[str, Tensor], n_jobs: int) -> Timing:
    """The same in several processes at once: milliseconds of the machine per run-step."""
    jobs = (delayed(_stacked_alone)(regime, base) for _ in range(n_jobs))
    timings: Sequence[Timing] = Parallel(n_jobs=n_jobs)(jobs)
    slowest = max(timings, key=lambda timing: timing.median)
    return slowest.per(n_jobs)


def _stacked_alone(regime: Regime, base: dict[str, Tensor]) -> Timing:
    torch.set_num_threads(1)
    return _stacked(regime, base)


def _plain_loop(regime: Regime, base: dict[str, Tensor]) -> Callable[[], None]:
    """The loop that everybody writes: one module, one AdamW, one run at a time."""
    (recipe,) = _recipes(regime, 1)
    model = TernaryVAE(recipe.architecture, recipe.max_radius)
    model.load_state_dict(initial_state(recipe, base))
    moving = ("projection", *recipe.encoder_lr_scales)
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name.startswith(moving))
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=recipe.lr)
    generator = torch.Generator().manual_seed(recipe.seed)

    def run() -> None:
        for _ in range(STEPS):
            index = torch.randint(N_OPERATIONS, (BATCH_SIZE,), generator=generator)
            state = dict(model.named_parameters())
            loss = torch.zeros(())
            for encoder in "AB":
                mu = encode(state, recipe.architecture, all_operations()[index], encoder)
                points = project(state, recipe.architecture, mu, recipe.max_radius, encoder)
                loss = loss + recipe.geodesic_weight * geodesic_loss(points, index)
                loss = loss + recipe.radial_weight * radial_loss(points, index)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return run
