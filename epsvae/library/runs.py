"""One folder a run: its checkpoints, and a record written last that says the run is complete."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from epsvae.errors import LibraryError
from epsvae.library.atomic import remove_partials, replacing
from epsvae.library.files import Checkpoint, save_checkpoint, sha256_of
from epsvae.library.recipes import BaseRecipe, Recipe
from epsvae.ternary import Architecture, Metrics

log = logging.getLogger(__name__)

RECORD = "run.json"


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
    """Make a run's folder and clear what an earlier attempt left in it; gives the folder back.

    From here until `write_run` the run counts as incomplete.
    """
    folder = run_folder(root, recipe)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    for path in folder.glob("epoch_*.safetensors"):
        path.unlink()
    remove_partials(folder)
    return folder


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
    """Whether a run is there whole, by this very recipe, with all its files."""
    if not (folder / RECORD).is_file():
        return False
    try:
        run = read_run(folder)
    except LibraryError as error:
        log.warning("not complete: %s", error)
        return False
    return run.recipe == recipe


def read_run(folder: Path) -> Run:
    """Read a run's record.

    Raises LibraryError, naming it, if it is missing or not readable, or a file that it lists is
    missing.
    """
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
    if missing := [c.file for c in checkpoints if not (folder / c.file).is_file()]:
        raise LibraryError(f"{path}: expected the files that it lists, missing {missing[0]}")
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


def architecture_to_json(architecture: Architecture) -> str:
    """An architecture in one line of JSON, the same line for the same architecture."""
    return json.dumps(asdict(architecture))


def architecture_from_json(plain: str | Mapping[str, Any]) -> Architecture:
    """The architecture behind `architecture_to_json`, also from its parsed form.

    Raises TypeError if a field is unknown.
    """
    fields = json.loads(plain) if isinstance(plain, str) else plain
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()}
    return Architecture(**values)
