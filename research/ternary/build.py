"""Build libraries on disk: from recipes to run folders and an index, resumable at any point."""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from joblib import Parallel, delayed
from tqdm import tqdm

from epsvae.subjects.ternary import evaluate
from epsvae.subjects.ternary.library.files import Checkpoint, load_checkpoint, save_checkpoint
from research.ternary.factory import Snapshot, train_base, train_runs
from research.ternary.index import build_index
from research.ternary.recipes import BaseRecipe, Recipe
from research.ternary.runs import (
    RunCheckpoint,
    is_complete,
    refuse_another_run,
    run_folder,
    save_run_checkpoint,
    start_run,
    write_run,
)
from research.ternary.stack import State

log = logging.getLogger(__name__)

STACK_SIZE = 8
"""Runs trained together: more do not fit a core's cache, fewer waste calls."""
BASE_MAX_RADIUS = 0.95


def build_libraries(root: Path | str, recipes: Sequence[Recipe], n_jobs: int = 2) -> pd.DataFrame:
    """Train what is missing of the given runs under `root` and give back the index of all of it.

    A run is complete when its record is there; a killed build goes on where it stopped and loses at
    most the stacks in progress. Raises LibraryError, before it trains, where a folder holds a run
    of another recipe. `n_jobs` processes work side by side, one thread each.
    """
    root = Path(root)
    missing = [r for r in recipes if not is_complete(run_folder(root, r), r)]
    for recipe in missing:
        refuse_another_run(run_folder(root, recipe), recipe)
    log.info("%d of %d runs are there", len(recipes) - len(missing), len(recipes))
    with Parallel(n_jobs=n_jobs, return_as="generator_unordered") as parallel:
        bases = list(dict.fromkeys(r.base for r in missing))
        jobs = (delayed(ensure_base)(root, base) for base in bases)
        _consume(parallel(jobs), len(bases), "bases", "base")
        jobs = (delayed(_build_stack)(root, stack) for stack in _stacks(missing))
        _consume(parallel(jobs), len(missing), "runs", "run")
    return build_index(root)


def _consume(results: Iterable[int], total: int, title: str, unit: str) -> None:
    if total == 0:
        return
    with tqdm(total=total, desc=title, unit=unit) as progress:
        for count in results:
            progress.update(count)


def base_path(root: Path, recipe: BaseRecipe) -> Path:
    """File of a base; its name changes with its recipe."""
    text = json.dumps(asdict(recipe), sort_keys=True)
    return (
        root
        / "bases"
        / f"{recipe.name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}.safetensors"
    )


def ensure_base(root: Path, recipe: BaseRecipe) -> int:
    """Train a base and save it as an ordinary checkpoint, unless it is there; gives 1."""
    torch.set_num_threads(1)
    path = base_path(root, recipe)
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        state = train_base(recipe)
        metrics = evaluate(state, recipe.architecture, BASE_MAX_RADIUS)
        checkpoint = Checkpoint(
            state=state,
            architecture=recipe.architecture,
            max_radius=BASE_MAX_RADIUS,
            metrics=metrics,
            epoch=0.0,
            run=recipe.name,
        )
        save_checkpoint(path, checkpoint)
    return 1


def _stacks(recipes: Sequence[Recipe]) -> list[list[Recipe]]:
    """Runs that can be trained together, in stacks, the most expensive first."""
    groups: dict[tuple, list[Recipe]] = {}
    for r in recipes:
        alike = (r.architecture, r.steps, r.n_checkpoints, tuple(r.encoder_lr_scales))
        groups.setdefault(alike, []).append(r)
    stacks = [
        runs[i : i + STACK_SIZE]
        for runs in groups.values()
        for i in range(0, len(runs), STACK_SIZE)
    ]
    return sorted(stacks, key=_expected_cost, reverse=True)


def _expected_cost(stack: Sequence[Recipe]) -> int:
    return len(stack) * stack[0].steps * (1 + 3 * len(stack[0].encoder_lr_scales))


def _build_stack(root: Path, recipes: Sequence[Recipe]) -> int:
    """Train a stack of runs and write each checkpoint as it comes; gives the number of runs."""
    torch.set_num_threads(1)
    bases: list[State] = [load_checkpoint(base_path(root, r.base)).state for r in recipes]
    folders = {recipe: start_run(root, recipe) for recipe in recipes}
    saved: dict[Recipe, list[RunCheckpoint]] = {recipe: [] for recipe in recipes}

    def save(snapshot: Snapshot) -> None:
        recipe = snapshot.recipe
        checkpoint = Checkpoint(
            state=snapshot.state,
            architecture=recipe.architecture,
            max_radius=recipe.max_radius,
            metrics=snapshot.metrics,
            epoch=snapshot.epoch,
            run=recipe.name,
        )
        saved[recipe].append(save_run_checkpoint(folders[recipe], checkpoint))

    train_runs(recipes, bases, save)
    for recipe in recipes:
        write_run(folders[recipe], recipe, saved[recipe])
    return len(recipes)
