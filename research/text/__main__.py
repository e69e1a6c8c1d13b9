"""``python -m research.text OUT``: train the text library into a folder; resumable."""

from pathlib import Path
from typing import Annotated

import typer

from research.text.factory import SMALL, Plan, build_library
from research.text.recipes import SMALL_SPLITS, draw_library


def main(
    out: Annotated[Path, typer.Argument(help="Folder of the library.")],
    small: Annotated[bool, typer.Option(help="A few short runs, to try it.")] = False,
    processes: Annotated[int, typer.Option(help="Runs are trained on so many cores.")] = 2,
) -> None:
    """Train and evaluate the runs of the text subject that are not in the folder yet."""
    recipes = draw_library(SMALL_SPLITS) if small else draw_library()
    build_library(out, recipes, SMALL if small else Plan(), processes)


if __name__ == "__main__":
    typer.run(main)
