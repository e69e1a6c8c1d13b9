"""The digits library on disk: one folder a run, resumable by run."""

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from joblib import Parallel, delayed
from safetensors.torch import save
from torch import Tensor
from tqdm import tqdm

from epsvae.atomic import remove_partials, replacing
from epsvae.errors import LibraryError
from epsvae.subjects.digits import Digits
from epsvae.threads import one_thread
from research.digits.factory import train
from research.digits.recipes import Recipe

RECORD = "recipe.json"
"""Written last: a run that has it is complete."""
STACK_SIZE = 8
"""Runs trained together: more do not fit a core's cache, fewer waste calls."""


def build(root: Path, recipes: Sequence[Recipe], n_jobs: int = 1) -> int:
    """Train the runs that are not there yet, stacks side by side; gives how many.

    A killed build goes on where it stopped and loses at most the stacks in progress; nothing that
    is complete is touched. Raises LibraryError if a run's folder holds another recipe.
    """
    missing = [recipe for recipe in recipes if not is_complete(root, recipe)]
    stacks = list(_stacks(missing))[::-1]  # the convolutions, which take longest, first
    title = f"{len(recipes) - len(missing)} of {len(recipes)} runs are there"
    done = Parallel(n_jobs, return_as="generator_unordered")(
        delayed(_train_stack)(root, stack) for stack in stacks
    )
    with tqdm(total=len(missing), desc=title, unit="run") as progress:
        for n_runs in done:
            progress.update(n_runs)
    return len(missing)


@one_thread()
def _train_stack(root: Path, stack: Sequence[Recipe]) -> int:
    for recipe in stack:
        remove_partials(run_folder(root, recipe))
    train(stack, _writer(root, Digits()))
    for recipe in stack:
        with replacing(run_folder(root, recipe) / RECORD) as temporary:
            temporary.write_text(_record(recipe))
    return len(stack)


def run_folder(root: Path, recipe: Recipe) -> Path:
    """``<root>/<split>/<run>``."""
    return root / recipe.split / recipe.name


def is_complete(root: Path, recipe: Recipe) -> bool:
    """Whether the run is there; raises LibraryError if it is there by another recipe."""
    path = run_folder(root, recipe) / RECORD
    if not path.is_file():
        return False
    if (found := path.read_text()) != _record(recipe):
        raise LibraryError(
            f"{path}: expected {_record(recipe)!r}, found {found!r}; "
            "remove the folder or build elsewhere"
        )
    return True


def _record(recipe: Recipe) -> str:
    return json.dumps(asdict(recipe), indent=1) + "\n"


def _stacks(recipes: Sequence[Recipe]) -> Iterator[list[Recipe]]:
    """Runs that can be trained together."""
    groups: dict[tuple, list[Recipe]] = {}
    for r in recipes:
        alike = (r.architecture, r.width, r.batch_size, r.steps, r.n_checkpoints)
        groups.setdefault((*alike, r.first_checkpoint), []).append(r)
    for group in groups.values():
        runs = iter(group)
        while stack := list(islice(runs, STACK_SIZE)):
            yield stack


def _writer(root: Path, subject: Digits) -> Callable[[Recipe, int, dict[str, Tensor]], None]:
    def write(recipe: Recipe, step: int, state: dict[str, Tensor]) -> None:
        path = run_folder(root, recipe) / f"step-{step:06d}.safetensors"
        metrics = dict(subject.measure(subject.build(state)))
        if not all(math.isfinite(value) for value in metrics.values()):
            raise LibraryError(f"{path}: expected finite metrics, found {metrics}")
        facts = {"step": str(step), "metrics": json.dumps(metrics)}
        with replacing(path) as temporary:
            temporary.write_bytes(save(state, facts))

    return write
