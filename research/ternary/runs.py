"""One folder a run: its checkpoints, and a record written last that says the run is complete."""

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from epsvae.atomic import remove_partials, replacing
from epsvae.errors import LibraryError
from epsvae.subjects.ternary import Metrics
from epsvae.subjects.ternary.library.architecture import architecture_from_json
from epsvae.subjects.ternary.library.files import Checkpoint, save_checkpoint, sha256_of
from research.ternary.recipes import BaseRecipe, Recipe

log = logging.getLogger(__name__)

RECORD = "run.json"
SAME = 1e-9
"""Relative difference up to which two numbers of a recipe count as the same: a recipe draws rates
as exp(x), whose last bit depends on the processor, and is compared with what another one wrote."""


@dataclass(frozen=True)
class RunCheckpoint:
    """A saved checkpoint as its run's record lists it."""

    file: str
    """Name within the run's folder."""
    epoch: float
    metrics: Metrics
    sha256: str


@dataclass(frozen=True)
class Run:
    """A complete run as read from its record."""

    recipe: Recipe
    checkpoints: tuple[RunCheckpoint, ...]


def run_folder(root: Path | str, recipe: Recipe) -> Path:
    """Folder of a run: ``<root>/<library>/<run>``."""
    return Path(root) / recipe.library / recipe.name


def start_run(root: Path | str, recipe: Recipe) -> Path:
    """Make a run's folder ready for its checkpoints and give it back; nothing in it is removed.

    Files that an earlier attempt at the same run left there are replaced one by one as the new ones
    come. From here until `write_run` the run counts as incomplete. Raises LibraryError if the
    folder holds a run of another recipe, or a record that cannot be read: what is there may be
    somebody's, and a comparison is no reason to delete it.
    """
    folder = run_folder(root, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    refuse_another_run(folder, recipe)
    remove_partials(folder)
    return folder


def refuse_another_run(folder: Path, recipe: Recipe) -> None:
    """Raise LibraryError for a folder with another recipe's run, or an unreadable record."""
    if (folder / RECORD).is_file():
        found = read_record(folder).recipe
        if differences := recipe_differences(found, recipe):
            raise LibraryError(
                f"{folder}: expected no run or this recipe's, found one of another recipe "
                f"({differences[0]}); move the folder away, or build under another root"
            )


def save_run_checkpoint(folder: Path, checkpoint: Checkpoint) -> RunCheckpoint:
    """Save a checkpoint in its run's folder and give back its line of the record.

    Raises CheckpointError if it cannot be written, LibraryError if its epoch or its metrics are
    unknown.
    """
    if checkpoint.epoch is None or checkpoint.metrics is None:
        raise LibraryError(
            f"{folder}: expected checkpoints with epoch and metrics, found "
            f"epoch {checkpoint.epoch} and metrics {checkpoint.metrics}"
        )
    path = folder / f"epoch_{checkpoint.epoch:07.2f}.safetensors"
    save_checkpoint(path, checkpoint)
    return RunCheckpoint(path.name, checkpoint.epoch, checkpoint.metrics, sha256_of(path))


def write_run(folder: Path, recipe: Recipe, checkpoints: Sequence[RunCheckpoint]) -> None:
    """Write a run's record at once, which makes the run complete.

    Raises LibraryError if there are no checkpoints, or if one is not on disk.
    """
    if not checkpoints:
        raise LibraryError(f"{folder}: expected at least one checkpoint, found none")
    for checkpoint in checkpoints:
        if not (folder / checkpoint.file).is_file():
            raise LibraryError(f"{folder}: expected {checkpoint.file}, found nothing")
    record = {
        "recipe": recipe_to_json(recipe),
        "checkpoints": [asdict(checkpoint) for checkpoint in checkpoints],
    }
    with replacing(folder / RECORD) as temporary:
        temporary.write_text(json.dumps(record, indent=1) + "\n")


def is_complete(folder: Path, recipe: Recipe) -> bool:
    """Whether a run is there whole, by this recipe, with all its files as they were written."""
    if not (folder / RECORD).is_file():
        return False
    try:
        run = read_run(folder)
    except LibraryError as error:
        log.warning("not complete: %s", error)
        return False
    if recipe_differences(run.recipe, recipe):
        return False
    damaged = [c.file for c in run.checkpoints if sha256_of(folder / c.file) != c.sha256]
    if damaged:
        log.warning("not complete: %s: %s is not as it was written", folder, damaged[0])
    return not damaged


def recipe_differences(a: Recipe, b: Recipe) -> list[str]:
    """The fields in which two recipes differ, as ``lr: 0.001, not 0.002``; empty if they are one.

    Numbers with a fraction are the same within `SAME`, everything else to the letter.
    """
    first, second = (_fields(recipe_to_json(recipe)) for recipe in (a, b))
    return [
        f"{name}: {first[name]}, not {second[name]}"
        for name in first
        if not _same(first[name], second[name])
    ]


def _fields(plain: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested JSON values as one flat dictionary."""
    flat: dict[str, Any] = {}
    for name, value in plain.items():
        nested = isinstance(value, Mapping)
        flat |= _fields(value, f"{prefix}{name}.") if nested else {prefix + name: value}
    return flat


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, float) or isinstance(b, float):
        return math.isclose(a, b, rel_tol=SAME)
    return bool(a == b)


def read_run(folder: Path) -> Run:
    """Read a run's record, and look that its files are there.

    Raises LibraryError, naming it, if it is missing or not readable, or a file that it lists is
    missing.
    """
    run = read_record(folder)
    if missing := [c.file for c in run.checkpoints if not (folder / c.file).is_file()]:
        raise LibraryError(
            f"{folder / RECORD}: expected the files that it lists, missing {missing[0]}"
        )
    return run


def read_record(folder: Path) -> Run:
    """Read a run's record alone; raises LibraryError if it is missing or not readable."""
    path = folder / RECORD
    try:
        record = json.loads(path.read_text())
        recipe = recipe_from_json(record["recipe"])
        lines = [dict(line) for line in record["checkpoints"]]
        checkpoints = tuple(
            RunCheckpoint(**(line | {"metrics": Metrics(**line["metrics"])})) for line in lines
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LibraryError(f"{path}: expected the record of a run, found {error!r}") from error
    return Run(recipe, checkpoints)


def recipe_to_json(recipe: Recipe) -> dict[str, Any]:
    """A recipe as plain JSON values. Law: `recipe_from_json` gives the same recipe back."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(recipe)))
    return plain


def recipe_from_json(plain: Mapping[str, Any]) -> Recipe:
    """The recipe behind `recipe_to_json`; raises LibraryError if a field is missing or unknown."""
    try:
        base = dict(plain["base"])
        architecture = architecture_from_json(base["architecture"])
        return Recipe(**{**plain, "base": BaseRecipe(**{**base, "architecture": architecture})})
    except (AttributeError, KeyError, TypeError) as error:
        raise LibraryError(f"recipe: expected the fields of a Recipe, found {error}") from error
