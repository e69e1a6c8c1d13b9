"""``epsvae``: import a library, extract it, train a map, predict, find what is similar.

A checkout adds the commands of its workrooms (entry points ``epsvae.commands``): building
libraries, reproducing the release, studies, benchmarks, and the book.
"""

import logging
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from epsvae.errors import EpsvaeError

app = typer.Typer(
    no_args_is_help=True,
    help="A map of checkpoint behaviour: from folders of checkpoints to points, metrics, geometry.",
    pretty_exceptions_enable=False,
)
library_app = typer.Typer(no_args_is_help=True, help="Libraries of checkpoints on disk.")
subject_app = typer.Typer(no_args_is_help=True, help="Your own networks: one file says what.")
app.add_typer(library_app, name="library")
app.add_typer(subject_app, name="subject")

ARTIFACTS = Path("artifacts")
Root = Annotated[Path, typer.Option(help="Folder of the libraries.")]
SUBJECT_HELP = "Your networks: a file my_subject.py, or package.module:Name. Its code is run."
SubjectName = Annotated[str, typer.Argument(metavar="SUBJECT", help=SUBJECT_HELP)]
Jobs = Annotated[int, typer.Option(help="Processes side by side, one thread each.", min=1)]


@app.callback()
def configure() -> None:
    """A map of checkpoint behaviour."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    logging.getLogger("epsvae").setLevel(logging.INFO)


@library_app.command("import")
def library_import(
    folder: Annotated[
        Path, typer.Argument(help="Folder of .safetensors, .pt, .pth or .ckpt files.")
    ],
    name: Annotated[str, typer.Option(help="What to call the library.")] = "imported",
) -> None:
    """Index a folder of checkpoints from elsewhere; every directory is one run."""
    from epsvae.library.index import import_folder, write_index

    imported = import_folder(folder, name)
    for refused in imported.refused:
        typer.echo(f"refused: {refused.reason}", err=True)
    if imported.index.empty:
        raise EpsvaeError(f"{folder}: expected at least one usable checkpoint, found none")
    write_index(imported.index, folder)
    typer.echo(f"{len(imported.index)} checkpoints indexed, {len(imported.refused)} refused")


@app.command()
def extract(
    library: Annotated[str, typer.Argument(help="Name of a library in the index.")],
    root: Root = ARTIFACTS / "library",
    out: Annotated[Path, typer.Option(help="Where the arrays go.")] = ARTIFACTS
    / "epsilon_vae_hybrid",
) -> None:
    """Write a library's weights, anchor embeddings and metrics under the seed's file names."""
    from epsvae.library.extract import extract_library
    from epsvae.library.index import read_index

    index = read_index(root)
    if library not in (known := index["library"].unique()):
        raise EpsvaeError(f"library: expected one of {', '.join(known)}, found {library!r}")
    extract_library(index[index["library"] == library], root, out)


@app.command()
def train(
    data: Annotated[Path, typer.Argument(help="Folder that `extract` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of best.pt and final.pt.")] = ARTIFACTS
    / "epsilon_vae_hybrid_models",
    seed: Annotated[int, typer.Option(help="Draws the probes and the noise.")] = 0,
) -> None:
    """Fit the default map in closed form and fine-tune it; the better on validation is best.pt."""
    from epsvae.map.data import load_map_data
    from epsvae.map.train import train_default

    history = train_default(load_map_data(data), out, seed).history
    typer.echo(history.to_string(index=False))


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
    files: Annotated[
        list[Path],
        typer.Argument(help="Checkpoint files of any widths and depths, or folders of them."),
    ],
    map_file: Annotated[Path, typer.Option("--map", help="The map to use.")] = Path(
        "data/reference/both/map.pt"
    ),
    csv: Annotated[bool, typer.Option("--csv", help="Every column, for a program.")] = False,
    subject: Annotated[
        str | None, typer.Option(help=SUBJECT_HELP + " Needed for maps that `fit` wrote.")
    ] = None,
) -> None:
    """Print the three metrics that a map predicts for checkpoint files, without running them.

    A map that `epsvae fit` wrote needs its --subject, whose metrics it
    predicts. With a calibration.safetensors beside the map, each metric has a 90 %
    interval. A file whose off-map score is above 1 is flagged: nothing is
    promised there, and no interval is shown. The column "why" says what is
    unlike the training checkpoints: the behaviour that the map reads, or only
    the weights, of which some may have no effect.
    """
    from epsvae.map.calibration import FILE, load_calibration
    from epsvae.map.files import load_epsilon_vae
    from epsvae.map.map_file import is_subject_map
    from epsvae.map.predict import predict_files, readable

    if subject is not None or is_subject_map(map_file):
        _predict_states(files, map_file, subject, csv)
        return
    model, beside = load_epsilon_vae(map_file), map_file.with_name(FILE)
    calibration = load_calibration(beside) if beside.is_file() else None
    outcome = predict_files(model, files, calibration)
    if csv:
        typer.echo(outcome.table.to_csv(index=False), nl=False)
    else:
        typer.echo(readable(outcome.table))
    _refuse(outcome.refused)


def _predict_states(files: list[Path], map_file: Path, subject: str | None, csv: bool) -> None:
    """`predict` for the maps that `fit` wrote."""
    from epsvae.loading import load_subject
    from epsvae.map.map_file import load_map
    from epsvae.map.predict_states import predict_states, readable

    if subject is None:
        raise EpsvaeError(f"{map_file}: expected --subject, the file of its networks, found none")
    fitted = load_map(map_file, load_subject(subject))
    outcome = predict_states(fitted, files)
    if csv:
        typer.echo(outcome.table.to_csv(index=False), nl=False)
    elif len(outcome.table):
        typer.echo(readable(outcome, fitted))
    _refuse(outcome.refused)


def _refuse(reasons: list[str]) -> None:
    for reason in reasons:
        typer.echo(f"refused: {reason}", err=True)
    if reasons:
        raise typer.Exit(1)


@app.command()
def similar(
    files: Annotated[
        list[Path],
        typer.Argument(help="Checkpoint files of any widths and depths, or folders of them."),
    ],
    library: Annotated[
        Path | None,
        typer.Option(help="Folder of checkpoints to search; default: the map's own library."),
    ] = None,
    k: Annotated[int, typer.Option("--k", help="How many to print.", min=1)] = 5,
    map_file: Annotated[Path, typer.Option("--map", help="The map to use.")] = Path(
        "data/reference/both/map.pt"
    ),
) -> None:
    """Print the checkpoints of a library that behave most like a file, by distance on the map.

    Metrics marked ~ are predicted, since the library's file does not say; all
    others were measured. Off the map (a score above 1) distances mean little,
    and the file is flagged.
    """
    from epsvae.map.calibration import FILE, load_calibration
    from epsvae.map.files import load_epsilon_vae
    from epsvae.map.model import EpsilonVAE
    from epsvae.uses.similar import place_files, readable, release_places

    model, beside = load_epsilon_vae(map_file), map_file.with_name(FILE)
    if not isinstance(model, EpsilonVAE):
        raise EpsvaeError(f"{map_file}: expected a default map, found {type(model).__name__}")
    calibration = load_calibration(beside) if beside.is_file() else None
    if library is None:
        home = map_file.resolve().parent
        known = release_places(home.parent, home.name)
    else:
        known = place_files(model, [library])
    asked = place_files(model, files, calibration)
    for reason in (refused := known.refused + asked.refused):
        typer.echo(f"refused: {reason}", err=True)
    if len(asked.z):
        typer.echo(readable(asked, known, k))
    if refused:
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
