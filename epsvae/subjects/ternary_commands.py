"""Commands of the ternary subject: import a library, extract it, train its own map."""

from pathlib import Path
from typing import Annotated

import typer

from epsvae.errors import EpsvaeError

library_app = typer.Typer(no_args_is_help=True, help="Libraries of ternary networks on disk.")
ARTIFACTS = Path("artifacts")
Root = Annotated[Path, typer.Option(help="Folder of the libraries.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(library_app, name="library")
    app.command()(extract)
    app.command()(train)


@library_app.command("import")
def library_import(
    folder: Annotated[
        Path, typer.Argument(help="Folder of .safetensors, .pt, .pth or .ckpt files.")
    ],
    name: Annotated[str, typer.Option(help="What to call the library.")] = "imported",
) -> None:
    """Index a folder of checkpoints from elsewhere; every directory is one run."""
    from epsvae.subjects.ternary.library.index import import_folder, write_index

    imported = import_folder(folder, name)
    for refused in imported.refused:
        typer.echo(f"refused: {refused.reason}", err=True)
    if imported.index.empty:
        raise EpsvaeError(f"{folder}: expected at least one usable checkpoint, found none")
    write_index(imported.index, folder)
    typer.echo(f"{len(imported.index)} checkpoints indexed, {len(imported.refused)} refused")


def extract(
    library: Annotated[str, typer.Argument(help="Name of a library in the index.")],
    root: Root = ARTIFACTS / "library",
    out: Annotated[Path, typer.Option(help="Where the arrays go.")] = ARTIFACTS
    / "epsilon_vae_hybrid",
) -> None:
    """Write a library's weights, anchor embeddings and metrics under the seed's file names."""
    from epsvae.subjects.ternary.library.extract import extract_library
    from epsvae.subjects.ternary.library.index import read_index

    index = read_index(root)
    if library not in (known := index["library"].unique()):
        raise EpsvaeError(f"library: expected one of {', '.join(known)}, found {library!r}")
    extract_library(index[index["library"] == library], root, out)


def train(
    data: Annotated[Path, typer.Argument(help="Folder that `extract` wrote.")],
    out: Annotated[Path, typer.Option(help="Folder of best.pt and final.pt.")] = ARTIFACTS
    / "epsilon_vae_hybrid_models",
    seed: Annotated[int, typer.Option(help="Draws the probes and the noise.")] = 0,
) -> None:
    """Fit the default map in closed form and fine-tune it; the better on validation is best.pt."""
    from epsvae.subjects.ternary.map.data import load_map_data
    from epsvae.subjects.ternary.map.train import train_default

    history = train_default(load_map_data(data), out, seed).history
    typer.echo(history.to_string(index=False))
