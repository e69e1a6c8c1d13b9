"""Trains the runs of the text library and writes their checkpoints, each with its evaluation."""

import json
import math
import multiprocessing
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from tqdm import tqdm

from epsvae.atomic import remove_partials, replacing
from epsvae.errors import LibraryError
from epsvae.subjects.text import N_WINDOWS, Text
from research.text.recipes import Recipe
from research.text.stacked import Stack
from research.text.training import Reader, first_state, rate_at

AHEAD = 200
"""Steps whose windows are drawn at a time."""
TOGETHER = 8
"""Runs of one width that are trained at once."""


@dataclass(frozen=True)
class Plan:
    """How long runs are trained and how they are evaluated."""

    steps: int = 12_000
    checkpoints: int = 12
    first: int = 20
    """Step of the first checkpoint."""
    windows: int = N_WINDOWS

    @property
    def kept(self) -> list[int]:
        """Steps of the checkpoints, spread geometrically."""
        return np.geomspace(self.first, self.steps, self.checkpoints).round().astype(int).tolist()


SMALL = Plan(steps=40, checkpoints=3, first=5, windows=300)


def build_library(root: Path, recipes: Sequence[Recipe], plan: Plan, processes: int = 2) -> None:
    """Train every run that is not complete under ``root/<split>/<run>/``.

    A run is complete when its ``recipe.json`` is there, which is written last. Of the others the
    checkpoints that are there are kept: training is repeated, evaluating them is not.
    """
    missing = [r for r in recipes if not (_folder(root, r) / "recipe.json").is_file()]
    groups = _groups(missing)
    expected = len(recipes) * plan.checkpoints
    with (
        tqdm(total=expected, unit="checkpoint", desc="text library") as bar,
        _executor(processes) as pool,
    ):
        tasks: set[Future[None]] = {pool.submit(train_group, root, g, plan) for g in groups}
        while tasks:
            done, tasks = wait(tasks, timeout=2)
            bar.n = sum(len(_checkpoints(_folder(root, r))) for r in recipes)
            bar.refresh()
            for task in done:
                task.result()


def _executor(processes: int) -> Executor:
    if processes == 1:  # nothing to start
        return ThreadPoolExecutor(1)
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(processes, context, torch.set_num_threads, (1,))


def _folder(root: Path, recipe: Recipe) -> Path:
    return root / recipe.split / recipe.name


def _checkpoints(folder: Path) -> list[Path]:
    return list(folder.glob("step-*.safetensors"))


def _groups(recipes: Sequence[Recipe]) -> list[list[Recipe]]:
    groups = []
    for width in sorted({recipe.width for recipe in recipes}, reverse=True):
        same = [recipe for recipe in recipes if recipe.width == width]
        number = -(-len(same) // TOGETHER)
        groups += [same[start::number] for start in range(number)]
    return groups


def train_group(root: Path, recipes: Sequence[Recipe], plan: Plan) -> None:
    """Train runs of one width together and write them."""
    subject = _subject(plan.windows)
    for recipe in recipes:
        folder = _folder(root, recipe)
        folder.mkdir(parents=True, exist_ok=True)
        remove_partials(folder)
    for step, states in train(recipes, plan):
        for recipe, state in zip(recipes, states, strict=True):
            path = _folder(root, recipe) / f"step-{step:06d}.safetensors"
            if not path.is_file():
                write_checkpoint(path, step, state, subject)
    for recipe in recipes:
        with replacing(_folder(root, recipe) / "recipe.json") as path:
            path.write_text(json.dumps(recipe.as_json(), indent=1) + "\n", encoding="utf-8")


def write_checkpoint(path: Path, step: int, state: dict[str, Tensor], subject: Text) -> None:
    """The state with its full evaluation in the file's metadata."""
    metrics = dict(subject.measure(subject.build(state)))
    if not math.isfinite(metrics["bits"]):
        raise LibraryError(f"{path}: expected a network with finite bits, found {metrics['bits']}")
    with replacing(path) as temporary:
        save_file(state, temporary, {"step": str(step), "metrics": json.dumps(metrics)})


@cache
def _subject(windows: int) -> Text:
    return Text(windows)


def train(recipes: Sequence[Recipe], plan: Plan) -> Iterator[tuple[int, list[dict[str, Tensor]]]]:
    """Train runs of one width together; the states of all of them at each kept step."""
    readers = [Reader(recipe) for recipe in recipes]
    stack = Stack([first_state(recipe) for recipe in recipes])
    decay = torch.tensor([recipe.decay for recipe in recipes])
    kept = set(plan.kept)
    for step in range(1, plan.steps + 1):
        ahead = (step - 1) % AHEAD
        if not ahead:
            windows = torch.stack([reader.read(AHEAD) for reader in readers], 1)
        rate = torch.tensor([rate_at(recipe, step, plan.steps) for recipe in recipes])
        stack.step(windows[ahead], rate, decay)
        if step in kept:
            yield step, stack.states()
