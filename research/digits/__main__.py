"""``python -m research.digits OUT [--small]``: build the library, then show what it spans."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import typer
from safetensors import safe_open

from research.digits.build import RECORD, build
from research.digits.recipes import catalogue

QUANTILES = np.array([0.0, 0.1, 0.5, 0.9, 1.0])


def main(
    out: Annotated[Path, typer.Argument(help="Folder of the library.")],
    small: Annotated[bool, typer.Option("--small", help="A few short runs a split.")] = False,
    jobs: Annotated[int, typer.Option(help="Stacks of runs are trained on so many cores.")] = 2,
) -> None:
    """Train the runs that are missing, and print the quantiles of every metric."""
    trained = build(out, catalogue(small), jobs)
    typer.echo(f"{trained} runs trained; quantiles of the metrics in {out}:")
    typer.echo(spread(out).to_string())


def spread(root: Path) -> pd.DataFrame:
    """Quantiles of each metric over the checkpoints of every split and network."""
    rows = []
    for record in sorted(root.glob(f"*/*/{RECORD}")):
        recipe = json.loads(record.read_text())
        network = f"{recipe['architecture']}-{recipe['width']}"
        for path in sorted(record.parent.glob("step-*.safetensors")):
            with safe_open(path, "pt") as file:
                metrics = json.loads(file.metadata()["metrics"])
            rows.append({"split": recipe["split"], "network": network, **metrics})
    table = pd.DataFrame(rows).melt(["split", "network"], var_name="metric")
    groups = table.groupby(["metric", "split", "network"])["value"]
    return groups.quantile(QUANTILES).unstack().round(3)


if __name__ == "__main__":
    typer.run(main)
