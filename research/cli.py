"""What a checkout adds to ``epsvae``: build libraries, reproduce the release, study, time."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from epsvae.cli import Jobs
from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary_commands import ARTIFACTS, Root, library_app

__all__ = ["register"]


def register(app: typer.Typer) -> None:
    """Add the commands; called by the command line."""
    logging.getLogger("research").setLevel(logging.INFO)
    library_app.command("build")(build)
    for command in (reproduce, study, bench):
        app.command()(command)


def build(
    names: Annotated[list[str] | None, typer.Argument(help="Libraries; default: all.")] = None,
    root: Root = ARTIFACTS / "library",
    scale: Annotated[str, typer.Option(help="full, or small (four runs a split).")] = "full",
    jobs: Jobs = 2,
) -> None:
    """Train the runs of the catalogue that are missing; goes on where a killed build stopped."""
    from research.ternary.build import build_libraries
    from research.ternary.catalogue import catalogue

    libraries = catalogue(scale)
    if unknown := set(names or []) - set(libraries):
        raise EpsvaeError(f"libraries: expected {', '.join(libraries)}, found {sorted(unknown)}")
    recipes = [recipe for name in names or libraries for recipe in libraries[name]]
    index = build_libraries(root, recipes, jobs)
    typer.echo(
        index.groupby(["library", "split"]).agg(runs=("run", "nunique"), files=("file", "size"))
    )


def reproduce(
    artifacts: Annotated[Path, typer.Option(help="Where everything is built.")] = ARTIFACTS,
    reference: Annotated[Path, typer.Option(help="Release to compare with.")] = Path(
        "data/reference"
    ),
    scale: Annotated[str, typer.Option(help="full, or small to try the chain.")] = "full",
    jobs: Jobs = 2,
) -> None:
    """From nothing to the full-scale results; resumes, then compares with the reference release."""
    from research.reproduce import reproduce_all

    typer.echo(reproduce_all(artifacts, reference, scale, jobs))


def study(
    studies: Annotated[
        list[str] | None,
        typer.Argument(help="seed, rows, trust, fresh, price, uses, ablations, scaling."),
    ] = None,
    artifacts: Annotated[Path, typer.Option(help="Where `reproduce` built.")] = ARTIFACTS,
    seeds: Annotated[int, typer.Option(help="Trainings of each trained row.", min=1)] = 3,
) -> None:
    """The seed's models, every row with several training seeds, ablations, the scaling law.

    Takes hours; resumes cell by cell. Tables go to the release under the artifacts. Example:

      epsvae study scaling
    """
    from research.studies.run import run_study

    run_study(artifacts, studies, seeds)


def bench(
    jobs: Jobs = 2,
    map_file: Annotated[Path, typer.Option("--map", help="A map that decodes weights.")] = Path(
        "data/reference/aligned/map.pt"
    ),
) -> None:
    """Time the full evaluation, the factory beside the plain loop, and networks out of z, now."""
    from epsvae.subjects.ternary.map.files import load_epsilon_vae
    from research.bench import benchmark

    table = benchmark(jobs, load_epsilon_vae(map_file))
    typer.echo(table.to_string(index=False, float_format="{:.2f}".format))
