"""One table of all checkpoints that a build left: the index, with the fields of their recipes."""

from collections.abc import Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pandas as pd

from epsvae.errors import LibraryError
from epsvae.subjects.ternary.library.architecture import architecture_to_json
from epsvae.subjects.ternary.library.index import COLUMNS, write_index
from epsvae.subjects.ternary.library.layout import key_layout
from research.ternary.recipes import Recipe
from research.ternary.runs import RECORD, Run, read_run

_RENAMED = ("name", "base", "library", "split", "started", "regime", "max_radius")
RECIPE_COLUMNS = tuple(f.name for f in fields(Recipe) if f.name not in _RENAMED)


def build_index(root: Path | str) -> pd.DataFrame:
    """Index every complete run under `root`, save it as ``<root>/index.parquet``, give it back.

    One row a checkpoint, sorted by library, start and epoch; columns `COLUMNS` and
    `RECIPE_COLUMNS`; `file` is relative to `root`. Folders without a record are runs that were cut
    short: they are left out. Raises LibraryError if a record is unreadable, contradicts its folder
    or lists a file that is not there, and if there is no run at all.
    """
    root = Path(root)
    rows: list[dict[str, Any]] = []
    for record in sorted(root.glob(f"*/*/{RECORD}")):
        folder, run = record.parent, read_run(record.parent)
        if (run.recipe.library, run.recipe.name) != (folder.parent.name, folder.name):
            raise LibraryError(
                f"{record}: expected run {folder.name} of library {folder.parent.name}, "
                f"found {run.recipe.name} of {run.recipe.library}"
            )
        rows.extend(_run_rows(run, folder.relative_to(root).as_posix()))
    if not rows:
        raise LibraryError(f"{root}: expected complete runs (<library>/<run>/{RECORD}), found none")
    index = pd.DataFrame(rows, columns=[*COLUMNS, *RECIPE_COLUMNS])
    index = index.sort_values(["library", "started", "run", "epoch"], ignore_index=True)
    write_index(index, root)
    return index


def _run_rows(run: Run, folder: str) -> Iterator[dict[str, Any]]:
    recipe = run.recipe
    common = {name: getattr(recipe, name) for name in RECIPE_COLUMNS} | {
        "library": recipe.library,
        "split": recipe.split,
        "run": recipe.name,
        "started": recipe.started,
        "regime": recipe.regime,
        "n_weights": key_layout(recipe.architecture).n_weights,
        "max_radius": recipe.max_radius,
        "base": recipe.base.name,
        "architecture": architecture_to_json(recipe.architecture),
    }
    for checkpoint in run.checkpoints:
        yield (
            common
            | asdict(checkpoint.metrics)
            | {
                "epoch": checkpoint.epoch,
                "file": f"{folder}/{checkpoint.file}",
                "sha256": checkpoint.sha256,
            }
        )
