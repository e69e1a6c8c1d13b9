"""``python -m research.text.bench``: stacked training against one module per run.

Both train the same runs on the same windows, taking turns in one process; the time of a round is
the processor's, and the ratio that of the medians over rounds.
"""

import time
from collections.abc import Callable
from statistics import median
from typing import Annotated

import torch
import typer

from research.text import plain
from research.text.recipes import WIDTHS, Recipe, draw_library
from research.text.stacked import Stack
from research.text.training import Reader, first_state


def main(
    rounds: Annotated[int, typer.Option(help="Turns of each way.")] = 15,
    steps: Annotated[int, typer.Option(help="Steps of every run in a turn.")] = 20,
    runs: Annotated[int, typer.Option(help="Runs that are trained at once.")] = 8,
) -> None:
    """Milliseconds of one step of one run, for each width."""
    torch.set_num_threads(1)
    for width in WIDTHS:
        recipes = [recipe for recipe in draw_library() if recipe.width == width][:runs]
        stacked, one_by_one = compare(recipes, rounds, steps)
        typer.echo(
            f"width {width}, {runs} runs: stacked {stacked:.2f} ms, one module each "
            f"{one_by_one:.2f} ms a step of a run, {one_by_one / stacked:.2f} x"
        )


def compare(recipes: list[Recipe], rounds: int, steps: int) -> tuple[float, float]:
    """Median milliseconds of one step of one run: stacked, one module each."""
    windows = torch.stack([Reader(recipe).read(steps) for recipe in recipes], 1)
    states = [first_state(recipe) for recipe in recipes]
    stack, singles = Stack(states), [plain.module_and_optimizer(recipe) for recipe in recipes]
    rate = torch.tensor([recipe.rate for recipe in recipes])
    decay = torch.tensor([recipe.decay for recipe in recipes])

    def together() -> None:
        for step in range(steps):
            stack.step(windows[step], rate, decay)

    def one_by_one() -> None:
        for index, (module, optimizer) in enumerate(singles):
            for step in range(steps):
                plain.step(module, optimizer, windows[step, index], recipes[index].rate)

    times = [(_seconds(together), _seconds(one_by_one)) for _ in range(rounds + 1)][1:]
    scale = 1e3 / (steps * len(recipes))
    first, second = zip(*times, strict=True)
    return median(first) * scale, median(second) * scale


def _seconds(call: Callable[[], None]) -> float:
    start = time.process_time()
    call()
    return time.process_time() - start


if __name__ == "__main__":
    typer.run(main)
