"""``python -m research.digits.bench``: the stacked factory beside the loop that everybody writes.

Both train the same recipes on the same batches in one process, by turns, so that what else the
machine does meets both. Nothing is evaluated and nothing is written.
"""

from collections.abc import Callable, Sequence
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F

from epsvae.subjects.digits import Digits
from research.digits.build import STACK_SIZE
from research.digits.factory import draw_batches, initial_state, shift_table, train
from research.digits.recipes import NETWORKS, Recipe, draw_recipe

STEPS = 60
ROUNDS = 7


def plain_run(recipe: Recipe, table: Tensor) -> nn.Module:
    """One module, torch.optim.AdamW, one run; gives the trained network."""
    module = Digits().build(initial_state(recipe)).train()
    optimiser = torch.optim.AdamW(
        module.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay
    )
    for rows, labels in zip(*draw_batches(recipe), strict=True):
        optimiser.zero_grad()
        F.cross_entropy(module(table[rows]), labels).backward()
        optimiser.step()
    return module


def compare(recipes: Sequence[Recipe], rounds: int) -> dict[str, float]:
    """Run-steps per second of both ways: medians, and the median and extremes of their ratio."""
    table = shift_table()

    def plain() -> None:
        for recipe in recipes:
            plain_run(recipe, table)

    def stacked() -> None:
        train(recipes, lambda recipe, step, state: None)

    run_steps = sum(recipe.steps for recipe in recipes)
    plain()
    stacked()
    pairs = [(_seconds(plain), _seconds(stacked)) for _ in range(rounds)]
    ratios = [slow / fast for slow, fast in pairs]
    return {
        "plain": run_steps / median(slow for slow, _ in pairs),
        "stacked": run_steps / median(fast for _, fast in pairs),
        "ratio": median(ratios),
        "lowest": min(ratios),
        "highest": max(ratios),
    }


def benchmark(rounds: int = ROUNDS, steps: int = STEPS) -> pd.DataFrame:
    """One row a network, and the whole library: as many run-steps of each network."""
    rng, rows = np.random.default_rng(0), {}
    for architecture, width in NETWORKS:
        network = {"architecture": architecture, "width": width, "steps": steps}
        recipes = [
            draw_recipe("ordinary", rng, name=f"bench-{i}", split="train", **network)
            for i in range(STACK_SIZE)
        ]
        rows[f"{architecture}-{width}"] = compare(recipes, rounds)
    table = pd.DataFrame(rows).T
    plain, stacked = (1 / (1 / table[way]).mean() for way in ("plain", "stacked"))
    table.loc["library"] = {"plain": plain, "stacked": stacked, "ratio": stacked / plain}
    return table


def _seconds(call: Callable[[], None]) -> float:
    start = perf_counter()
    call()
    return perf_counter() - start


def main() -> None:
    """Print run-steps per second of both ways."""
    torch.set_num_threads(1)
    typer.echo(f"run-steps per second, {STACK_SIZE} runs a stack, {ROUNDS} rounds by turns:")
    typer.echo(benchmark().round(2).to_string())


if __name__ == "__main__":
    main()
