"""``epsvae``: import a library, extract it, train a map, predict, find what is similar.

A checkout adds the commands of its workrooms (entry points ``epsvae.commands``): building
libraries, reproducing the release, studies, benchmarks, and the book.
"""

import logging
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from epsvae.errors import EpsvaeError

if TYPE_CHECKING:
    from epsvae.map.calibrated import CalibratedMap
    from epsvae.subject import Subject

app = typer.Typer(
    no_args_is_help=True,
    help="A map of checkpoint behaviour: from folders of checkpoints to points, metrics, geometry.",
    pretty_exceptions_enable=False,
)
subject_app = typer.Typer(no_args_is_help=True, help="Your own networks: one file says what.")
app.add_typer(subject_app, name="subject")

SUBJECT_HELP = (
    "Your networks: a file my_subject.py, or package.module:Name; its code is run. "
    "Or ternary, digits, text, which come with it."
)
SubjectName = Annotated[str, typer.Argument(metavar="SUBJECT", help=SUBJECT_HELP)]
DEFAULT_MAP = Path("data/reference/both/map.pt")
DEFAULT_SUBJECT = "ternary"
Files = Annotated[
    list[Path],
    typer.Argument(help="Checkpoint files of any widths and depths, or folders of them."),
]
MapFile = Annotated[Path, typer.Option("--map", help="The map to use.")]
MapSubject = Annotated[
    str | None, typer.Option(help=SUBJECT_HELP + " By default the ternary networks of the book.")
]
Jobs = Annotated[int, typer.Option(help="Processes side by side, one thread each.", min=1)]


@app.callback()
def configure() -> None:
    """A map of checkpoint behaviour."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("epsvae").setLevel(logging.INFO)


@subject_app.command("new")
def subject_new(
    file: Annotated[Path, typer.Argument(help="Where to write it: my_subject.py.")],
) -> None:
    """Write a first subject, a tiny classifier that works, to be changed into yours."""
    from epsvae.loading import write_template

    write_template(file)
    typer.echo(f"{file} written; try it: epsvae subject check {file}")


@subject_app.command("check")
def subject_check(
    subject: SubjectName,
    checkpoints: Annotated[
        list[Path] | None, typer.Argument(help="Files to try; default: the subject's example().")
    ] = None,
) -> None:
    """Say what is wrong with a subject, and how to mend it. Runs the subject's code."""
    from epsvae.checkpoints import read_state
    from epsvae.conformance import check
    from epsvae.loading import load_subject

    states = [read_state(path).state for path in checkpoints or []]
    faults = check(load_subject(subject), states)
    for fault in faults:
        typer.echo(f"- {fault}")
    if faults:
        raise typer.Exit(1)
    typer.echo(f"{subject}: keeps its side")


@app.command()
def fit(
    folder: Annotated[Path, typer.Argument(help="Folder of checkpoints, one folder a run.")],
    subject: Annotated[str, typer.Option(help=SUBJECT_HELP)],
    out: Annotated[Path, typer.Option("--out", "-o", help="The map to write.")],
    inputs: Annotated[int, typer.Option(help="How many of the subject's inputs to run.")] = 64,
    seed: Annotated[int, typer.Option(help="Draws the inputs, and the runs that validate.")] = 0,
) -> None:
    """Fit a map of your own networks: from a few answers to every metric, with intervals.

    Uses FOLDER/train and FOLDER/validation if they are there, else draws which
    runs validate. Where a file does not carry its metrics, they are measured.
    Example:

      epsvae fit runs --subject my_subject.py -o map.safetensors
    """
    from epsvae.folders import examples, split_runs
    from epsvae.loading import load_subject
    from epsvae.map.learn import fit_map
    from epsvae.map.map_file import save_map

    family = load_subject(subject)
    train, validation = (examples(family, table) for table in split_runs(folder, seed))
    save_map(fit_map(family, train, validation, inputs, seed, progress=True), out)
    typer.echo(f"{out} written; use it: epsvae predict FILES --map {out} --subject {subject}")


@app.command()
def predict(
    files: Files,
    map_file: MapFile = DEFAULT_MAP,
    csv: Annotated[bool, typer.Option("--csv", help="Every column, for a program.")] = False,
    subject: MapSubject = None,
) -> None:
    """Print what a map predicts for checkpoint files: it runs a few inputs through each.

    Each metric has a 90 % interval. A file whose off-map score is above 1 is
    flagged: nothing is promised there, and no interval is shown. The column
    "why" says what is unlike the training checkpoints. A map that `epsvae fit`
    wrote needs the --subject that it was fitted with.
    """
    from epsvae.map.predict import predict_files, readable

    _, asked = _open_map(map_file, subject)
    outcome = predict_files(asked, files)
    if csv:
        typer.echo(outcome.table.to_csv(index=False), nl=False)
    else:
        typer.echo(readable(outcome, asked))
    _refuse(outcome.refused)


@app.command()
def similar(
    files: Files,
    library: Annotated[
        Path | None,
        typer.Option(help="Folder of checkpoints to search; default: the map's own library."),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="How many to print.", min=1)] = 5,
    map_file: MapFile = DEFAULT_MAP,
    subject: MapSubject = None,
) -> None:
    """Print the checkpoints of a library that behave most like a file, by distance on the map.

    Metrics marked ~ are predicted, since the library's file does not say; all
    others were measured. Off the map (a score above 1) distances mean little,
    and the file is flagged.
    """
    from epsvae.uses.similar import place_files, readable

    family, asked = _open_map(map_file, subject)
    known = family.places(map_file) if library is None else place_files(asked, [library])
    places = place_files(asked, files)
    if len(places.z):
        typer.echo(readable(places, known, k))
    _refuse([*known.refused, *places.refused])


def _open_map(map_file: Path, subject: str | None) -> tuple["Subject", "CalibratedMap"]:
    """A subject and a map of it."""
    from epsvae.loading import load_subject
    from epsvae.map.map_file import is_subject_map

    if map_file == DEFAULT_MAP and not map_file.is_file():
        raise EpsvaeError(
            f"{map_file}: expected the reference map, found no file; it comes with a "
            "checkout of the project (data/reference), not with the package. Name one with --map; "
            "`epsvae fit` makes one of your own networks"
        )
    if subject is None and is_subject_map(map_file):
        raise EpsvaeError(f"{map_file}: expected --subject, the file of its networks, found none")
    family = load_subject(subject or DEFAULT_SUBJECT)
    return family, family.open_map(map_file)


def _refuse(reasons: list[str]) -> None:
    for reason in reasons:
        typer.echo(f"refused: {reason}", err=True)
    if reasons:
        raise typer.Exit(1)


def main() -> None:
    """Run the command line; an error of ours, or of the disk, is one line, not a traceback."""
    try:
        app()
    except (EpsvaeError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise SystemExit(1) from error


def _add_workrooms() -> None:
    """Add the commands of what is installed beside the package; in a checkout, its workrooms."""
    for entry in entry_points(group="epsvae.commands"):
        if find_spec(entry.module.partition(".")[0]) is not None:
            entry.load()(app)


_add_workrooms()
