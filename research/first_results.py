"""The map of a subject beside what else may run as many inputs: one table of errors.

``python -m research.first_results LIBRARY --subject S [--map FILE] -o table.parquet``

``--own MAP`` adds a row for an Epsilon-VAE of ternary networks, which runs 128 inputs.

Rows: the map; a random subset of as many inputs, on which the subject's own measure is taken (mean
error of 20 draws); anchor points, for metrics that are means of items; layer statistics with trees,
which run nothing; and a constant, the training mean.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import compress
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from jaxtyping import Float
from torch import Tensor
from tqdm import tqdm

from epsvae.bootstrap import Measure, Weights, interval, mean_of, resampled, run_weights
from epsvae.checkpoints import StateFile, find_checkpoints
from epsvae.folders import Example, examples, split_runs
from epsvae.loading import load_subject
from epsvae.map.calibrated import CalibratedMap, Place
from epsvae.map.forest import grow_forest
from epsvae.map.learn import FittedMap, fit_map
from epsvae.map.map_file import load_map
from epsvae.subject import State, Subject
from epsvae.subjects.ternary.map.look import TernaryMap, epsilon_vae, open_map
from research.counting import Predictions, anchor_points, count, random_subsets

ON_MAP = "on the map"
"""Of a split: what the map does not flag."""
EPSILON_VAE = "Epsilon-VAE"
"""Row of the ternary networks' own map."""
Say = Callable[[Sequence[Example]], Predictions]


def fit_library(library: Path, subject: Subject, n_inputs: int = 64, seed: int = 0) -> FittedMap:
    """The map of a library's training and validation runs."""
    train, validation = (examples(subject, table) for table in split_runs(library, seed))
    return fit_map(subject, train, validation, n_inputs, seed, progress=True)


def first_results(
    library: Path,
    fitted: FittedMap,
    splits: Sequence[str] = ("test", "heldout"),
    own: TernaryMap | None = None,
) -> pd.DataFrame:
    """Columns subject, split, checkpoints, row, inputs, metric; error, low, high; ratio, ratio_low,
    ratio_high; held.

    Errors are absolute means, each run counting the same; a ratio is the map's error by the row's,
    paired: both on the same resampled runs; NaN where the row makes none. 95 % intervals, by
    bootstrap over runs. `held` is how often the map's own 90 % intervals hold what was measured.
    Each split comes twice: whole, and without the checkpoints that the map flags.
    """
    subject = fitted.model.subject
    train = list(examples(subject, split_runs(library, fitted.model.config.seed)[0]))
    ways = _ways(fitted, train)
    if own is not None:
        ways[EPSILON_VAE] = (epsilon_vae(own).config.n_probes, partial(_said, own))
    lines: list[dict[str, object]] = []
    for split in (split for split in splits if (library / split).is_dir()):
        asked = list(examples(subject, find_checkpoints(library / split)))
        places = [fitted.look(StateFile(Path(e.source), e.state)) for e in tqdm(asked, desc="map")]
        told = np.stack([place.metrics for place in places])[None]
        said = {"map": (fitted.model.config.n_probes, told)}
        said |= {row: (inputs, say(asked)) for row, (inputs, say) in ways.items()}
        on_map = np.array([not place.flag for place in places])
        for name, kept in ((split, on_map | True), (f"{split}, {ON_MAP}", on_map)):
            if kept.any():
                rows = {row: (inputs, found[:, kept]) for row, (inputs, found) in said.items()}
                few = list(compress(asked, kept)), list(compress(places, kept))
                lines += _lines(subject, name, rows, *few)
    return pd.DataFrame(lines)


def _ways(fitted: FittedMap, train: Sequence[Example]) -> dict[str, tuple[int, Say]]:
    """Inputs that each row runs, and what predicts from them."""
    subject, config = fitted.model.subject, fitted.model.config
    n_inputs, seed = config.n_probes, config.seed
    places, weights = anchor_points(subject, train, n_inputs, seed)
    names = sorted({name for example in train for name in example.state})
    known = _statistics(train, names)
    trees = [grow_forest(known, column, seed) for column in _linked(subject, train).T]
    runs = np.array([example.run for example in train], dtype=object)
    constant = run_weights(runs) @ _metrics(subject, train)

    def by_statistics(asked: Sequence[Example]) -> Predictions:
        seen = _statistics(asked, names)
        return _unlink(subject, torch.stack([forest(seen) for forest in trees], 1))[None]

    return {
        "random subset": (n_inputs, lambda asked: random_subsets(subject, asked, n_inputs, seed)),
        "anchor points": (n_inputs, lambda asked: count(subject, asked, places, weights)[None]),
        "layer statistics with trees": (0, by_statistics),
        "constant": (0, lambda asked: np.tile(constant, (1, len(asked), 1))),
    }


def _said(own: CalibratedMap, asked: Sequence[Example]) -> Predictions:
    """What a subject's own map predicts."""
    files = (own.open(Path(example.source)) for example in tqdm(asked, desc="own map", unit="file"))
    return np.stack([own.look(file).metrics for file in files])[None]


def _lines(
    subject: Subject,
    split: str,
    rows: Mapping[str, tuple[int, Predictions]],
    asked: Sequence[Example],
    places: Sequence[Place],
) -> Iterator[dict[str, object]]:
    true, runs = _metrics(subject, asked), np.array([e.run for e in asked], dtype=object)
    errors = {row: _absolute(predicted, true) for row, (_, predicted) in rows.items()}
    inside = np.array([(p.low <= t) & (t <= p.high) for p, t in zip(places, true, strict=True)])
    held = run_weights(runs) @ inside
    about = {"subject": subject.name, "split": split, "checkpoints": len(asked)}
    for row, (inputs, _) in rows.items():
        for i, metric in enumerate(subject.metrics):
            line = {**about, "row": row, "inputs": inputs, "metric": metric.name}
            yield (
                line
                | _compared(errors[row][:, i], errors["map"][:, i], runs)
                | {"held": held[i] if row == "map" else np.nan}
            )


def _compared(
    errors: Float[np.ndarray, "n"], of_map: Float[np.ndarray, "n"], runs: np.ndarray
) -> dict[str, float]:
    """A row's mean error, and the map's by it, both with their intervals."""
    own = run_weights(runs)

    def mean(values: Float[np.ndarray, "n"]) -> Measure:
        return lambda drawn: mean_of(values)(drawn * own)

    def ratio(drawn: Weights) -> Float[np.ndarray, "replicates"]:
        whole = mean(errors)(drawn)
        return mean(of_map)(drawn) / np.where(whole > 0, whole, np.nan)

    found = {
        ("error", "low", "high"): mean(errors),
        ("ratio", "ratio_low", "ratio_high"): ratio,
    }
    return {
        name: value
        for names, measure in found.items()
        for name, value in zip(names, interval(*resampled([measure], runs)), strict=True)
    }


def _absolute(
    predicted: Predictions, true: Float[np.ndarray, "n metrics"]
) -> Float[np.ndarray, "n metrics"]:
    """Absolute errors, the mean of the draws that say something; NaN where none does."""
    return np.ma.masked_invalid(np.abs(predicted - true)).mean(0).filled(np.nan)


def _statistics(asked: Sequence[Example], names: Sequence[str]) -> Float[Tensor, "n features"]:
    """Statistics of the tensors of these names, of each checkpoint."""
    return torch.stack([torch.cat([_of_tensor(e.state, name) for name in names]) for e in asked])


def _of_tensor(state: State, name: str) -> Float[Tensor, "9"]:
    """Mean, spread, mean square, size, five quantiles; 0 where a state has no such tensor."""
    if name not in state:
        return torch.zeros(9)
    values = state[name].float().flatten()
    shares = torch.tensor([0.0, 0.25, 0.5, 0.75, 1.0])
    ordered = values.sort().values
    quantiles = ordered[(shares * (len(values) - 1)).long()]
    moments = (values.mean(), values.std(correction=0), values.square().mean(), values.numel())
    return torch.cat([torch.tensor([float(v) for v in moments]), quantiles])


def _metrics(subject: Subject, asked: Sequence[Example]) -> Float[np.ndarray, "n metrics"]:
    return np.array([[e.metrics[metric.name] for metric in subject.metrics] for e in asked])


def _linked(subject: Subject, asked: Sequence[Example]) -> Float[Tensor, "n metrics"]:
    """True metrics on their linked scale."""
    true = torch.from_numpy(_metrics(subject, asked)).float()
    return torch.stack(
        [m.link(column) for m, column in zip(subject.metrics, true.T, strict=True)], 1
    )


def _unlink(subject: Subject, linked: Tensor) -> Float[np.ndarray, "n metrics"]:
    columns = zip(subject.metrics, linked.T, strict=True)
    return torch.stack([metric.unlink(column) for metric, column in columns], 1).numpy()


def main(
    library: Path,
    subject: Annotated[str, typer.Option()],
    out: Annotated[Path, typer.Option("--out", "-o")],
    map_file: Annotated[
        Path | None, typer.Option("--map", help="Fitted to the library; default: fit one.")
    ] = None,
    inputs: Annotated[int, typer.Option(help="Of a map that is fitted here.")] = 64,
    own: Annotated[
        Path | None, typer.Option(help="An Epsilon-VAE, of ternary networks: one row more.")
    ] = None,
    splits: Annotated[list[str], typer.Option("--split")] = ["test", "heldout"],  # noqa: B006
) -> None:
    """Write the table and print it."""
    family = load_subject(subject)
    fitted = load_map(map_file, family) if map_file else fit_library(library, family, inputs)
    table = first_results(library, fitted, splits, open_map(own) if own else None)
    table.to_parquet(out)
    typer.echo(readable(table))


def readable(table: pd.DataFrame) -> str:
    """The table as text: a line for each split and row, a column for each metric."""
    cells = table[["error", "low", "high"]].to_numpy()
    shown = table.assign(text=[f"{e:.4f} [{lo:.4f}, {hi:.4f}]" for e, lo, hi in cells])
    wide = shown.pivot_table(
        index=["split", "row"], columns="metric", values="text", aggfunc="first", sort=False
    )
    return str(wide.to_string())


def markdown(table: pd.DataFrame) -> str:
    """A split of the table for a page: a line for each metric, a column for each row, and how the
    map's error compares with a random subset's. Intervals of the map and of the comparison."""
    rows = table["row"].unique().tolist()
    titles = ["subject", "metric", *rows, "map / random subset"]
    lines = [titles, [":--", ":--", *["--:"] * (len(rows) + 1)]]
    for (subject, metric), found in table.groupby(["subject", "metric"], sort=False):
        by_row = found.set_index("row")
        errors = [f"{e:.4f}".replace("nan", "–") for e in by_row["error"].reindex(rows)]
        errors[0] += " [{:.4f}, {:.4f}]".format(*by_row.loc["map", ["low", "high"]])
        ends = by_row.loc["random subset", ["ratio", "ratio_low", "ratio_high"]]
        compared = "{:.2f} [{:.2f}, {:.2f}]".format(*ends)
        lines.append([subject, metric, *errors, compared])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    typer.run(main)
