"""``epsvae book``: run the chapters, check them, fetch what their pages load."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from epsvae.errors import EpsvaeError

__all__ = ["book_app", "register"]

book_app = typer.Typer(no_args_is_help=True, help="Run, check and prepare the book's chapters.")


def register(app: typer.Typer) -> None:
    """Add ``epsvae book``; called by the command line."""
    app.add_typer(book_app, name="book")


Root = Annotated[
    Path | None, typer.Option("--root", help="Folder of _toc.yml; default: here or above.")
]


@book_app.callback()
def configure() -> None:
    """Run, check and prepare the book's chapters."""
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    for room in ("epsvae", "tools"):
        logging.getLogger(room).setLevel(logging.INFO)


@book_app.command()
def run(
    chapters: Annotated[
        list[str] | None, typer.Argument(help="Names as in world/operations; default: all.")
    ] = None,
    parameter: Annotated[
        list[str] | None, typer.Option("-p", "--parameter", help="name=value, for one chapter.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option(help="Notebook to write instead of the chapter's source.")
    ] = None,
    force: Annotated[bool, typer.Option(help="Run even what is current.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds that one cell may take.")] = 900.0,
    jobs: Annotated[int, typer.Option(help="Chapters side by side.", min=1)] = 2,
    root: Root = None,
) -> None:
    """Run chapters (and what they need) and store their outputs."""
    from tools.book.chapters import find_root  # here, so that --help does not load papermill
    from tools.book.parameters import parse_value
    from tools.book.runner import run_book, run_variant

    names = chapters or []
    if parameter or output:
        if len(names) != 1:
            raise EpsvaeError(f"-p and --output expect one chapter, found {len(names)}")
        values = {name: parse_value(text) for name, text in map(_pair, parameter or [])}
        typer.echo(run_variant(find_root(root), names[0], values, output=output, timeout=timeout))
        return
    report = run_book(find_root(root), names, force=force, timeout=timeout, n_jobs=jobs)
    if not report.ok:
        failed = ", ".join(report.failed)
        raise EpsvaeError(f"failed: {failed}; the pages show what an earlier run stored")


def _pair(text: str) -> tuple[str, str]:
    """Split ``name=value``."""
    name, equals, value = text.partition("=")
    if not (equals and name.isidentifier()):
        raise EpsvaeError(f"-p expects name=value, found {text!r}")
    return name, value


@book_app.command()
def check(root: Root = None) -> None:
    """Check every chapter against the writing rules."""
    from tools.book.chapters import find_root
    from tools.book.checks import check_book

    problems = check_book(find_root(root))
    for problem in problems:
        typer.echo(problem, err=True)
    if problems:
        raise typer.Exit(1)


@book_app.command()
def assets(root: Root = None) -> None:
    """Copy the scripts that the pages load out of installed packages."""
    from tools.book.assets import copy_assets
    from tools.book.chapters import find_root

    copy_assets(find_root(root))
