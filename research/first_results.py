"""The map of a subject beside what else may run as many inputs: one table of errors.

``python -m research.first_results LIBRARY --subject S [--map FILE] -o table.parquet``

Rows: the map; a random subset of as many inputs, on which the subject's own measure is taken (mean
error of 20 draws); anchor points (k-medoids of the inputs by training runs' scores of them, each
weighed by its cluster: Vivek et al., 2024), for metrics that are means of items; layer statistics
with trees, which run nothing; and a constant, the training mean.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import torch
import typer
from jaxtyping import Float
from torch import Tensor, nn
from tqdm import tqdm

from epsvae.bootstrap import Measure, interval, mean_of, resampled, run_weights
from epsvae.checkpoints import find_checkpoints
from epsvae.folders import Example, examples, split_runs
from epsvae.loading import load_subject
from epsvae.map.forest import grow_forest
from epsvae.map.learn import FittedMap, fit_map
from epsvae.map.map_file import load_map
from epsvae.map.replies import groups
from epsvae.subject import State, Subject

DRAWS = 20
POOL = 1000
"""Inputs among which anchor points are chosen: the whole pool, or so many drawn from it."""
STEPS = 20
"""Of k-medoids, which ends sooner where nothing moves."""

Predictions = Float[np.ndarray, "draws n metrics"]
"""NaN where a row says nothing of a metric."""


def fit_library(library: Path, subject: Subject, n_inputs: int = 64, seed: int = 0) -> FittedMap:
    """The map of a library's training and validation runs."""
    train, validation = (examples(subject, table) for table in split_runs(library, seed))
    return fit_map(subject, train, validation, n_inputs, seed, progress=True)


def first_results(
    library: Path, fitted: FittedMap, splits: Sequence[str] = ("test", "heldout")
) -> pd.DataFrame:
    """Columns subject, split, row, inputs, metric; error, low, high; ratio, ratio_low, ratio_high.

    Errors are absolute means, each run counting the same; a ratio is the map's error by the row's,
    paired: both on the same resampled runs. 95 % intervals, by bootstrap over runs.
    """
    subject, config = fitted.model.subject, fitted.model.config
    n_inputs, seed = config.n_probes, config.seed
    train = list(examples(subject, split_runs(library, seed)[0]))
    anchors = _anchor_points(subject, train, n_inputs, seed)
    names = sorted({name for example in train for name in example.state})
    known = _statistics(train, names)
    trees = [grow_forest(known, column, seed) for column in _linked(subject, train).T]
    runs = np.array([example.run for example in train], dtype=object)
    constant = run_weights(runs) @ _metrics(subject, train)
    tables = []
    for split in (split for split in splits if (library / split).is_dir()):
        asked = list(examples(subject, find_checkpoints(library / split)))
        true = _metrics(subject, asked)
        z = torch.cat([fitted.model.encode([e.state for e in group]) for group in groups(asked)])
        linked = torch.stack([forest(_statistics(asked, names)) for forest in trees], 1)
        rows: dict[str, tuple[int, Predictions]] = {
            "map": (n_inputs, fitted.model.predict_metrics(z)[None].numpy()),
            "random subset": (n_inputs, _subsets(subject, asked, n_inputs, seed)),
            "anchor points": (n_inputs, _count(subject, asked, *anchors)[None]),
            "layer statistics with trees": (0, _unlink(subject, linked)[None]),
            "constant": (0, np.broadcast_to(constant, (1, *true.shape))),
        }
        runs = np.array([example.run for example in asked], dtype=object)
        tables += list(_rows(subject, split, rows, true, runs))
        low, high = (end.numpy() for end in fitted.intervals(fitted.model, z))
        inside = run_weights(runs) @ ((low <= true) & (true <= high))
        pairs = zip(subject.metrics, inside, strict=True)
        shares = ", ".join(f"{metric.name} {share:.2f}" for metric, share in pairs)
        typer.echo(f"{split}: 90 % intervals hold {shares}")
    return pd.DataFrame(tables)


def _rows(
    subject: Subject,
    split: str,
    rows: Mapping[str, tuple[int, Predictions]],
    true: Float[np.ndarray, "n metrics"],
    runs: np.ndarray,
) -> Iterator[dict[str, object]]:
    own = run_weights(runs)

    def mean(values: Float[np.ndarray, "n"]) -> Measure:
        return lambda drawn: mean_of(values)(drawn * own)

    def ratio(above: Float[np.ndarray, "n"], below: Float[np.ndarray, "n"]) -> Measure:
        return lambda drawn: mean(above)(drawn) / mean(below)(drawn)

    errors = {row: _absolute(predicted, true) for row, (_, predicted) in rows.items()}
    for row, (inputs, _) in rows.items():
        for i, metric in enumerate(subject.metrics):
            measures = {
                ("error", "low", "high"): mean(errors[row][:, i]),
                ("ratio", "ratio_low", "ratio_high"): ratio(errors["map"][:, i], errors[row][:, i]),
            }
            line = {"subject": subject.name, "split": split, "row": row, "inputs": inputs}
            yield {**line, "metric": metric.name} | {
                name: value
                for names, measure in measures.items()
                for name, value in zip(names, interval(*resampled([measure], runs)), strict=True)
            }


def _absolute(
    predicted: Predictions, true: Float[np.ndarray, "n metrics"]
) -> Float[np.ndarray, "n metrics"]:
    """Absolute errors, the mean of the draws that say something; NaN where none does."""
    return np.ma.masked_invalid(np.abs(predicted - true)).mean(0).filled(np.nan)


def _subsets(subject: Subject, asked: Sequence[Example], n_inputs: int, seed: int) -> Predictions:
    """The subject's own measure on a few inputs alone, drawn anew twenty times."""
    generator = torch.Generator().manual_seed(seed)
    drawn = [
        torch.randperm(len(subject.inputs), generator=generator)[:n_inputs] for _ in range(DRAWS)
    ]
    parts = [_restricted(subject, places) for places in drawn]
    result = np.full((DRAWS, len(asked), len(subject.metrics)), np.nan)
    for column, example in enumerate(tqdm(asked, desc="random subsets", unit="file")):
        module = subject.build(example.state)
        for draw, part in enumerate(parts):
            measured = _measured(part, module)
            result[draw, column] = [measured[metric.name] for metric in subject.metrics]
    return result


def _measured(part: Subject, module: nn.Module) -> Mapping[str, float]:
    """The metrics of a part of the inputs: by the subject's `scores` of answers, if it has them."""
    scores = getattr(part, "scores", None)
    if scores is None:
        return part.measure(module)
    with torch.no_grad():
        measured: Mapping[str, float] = scores(part.answer(module, part.inputs), part.targets)
    return measured


def _restricted(subject: Subject, places: Tensor) -> Subject:
    part = copy.copy(subject)
    part.inputs = subject.inputs[places]
    part.targets = None if subject.targets is None else subject.targets[places]
    return part


def _anchor_points(
    subject: Subject, train: Sequence[Example], n_inputs: int, seed: int
) -> tuple[Tensor, Float[Tensor, "inputs"]]:
    """(places of the medoids, weights) by all items of the training checkpoints."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randperm(len(subject.inputs), generator=generator)[:POOL]
    scores = _items(subject, train, pool)
    if not len(scores):
        return pool[:0], torch.zeros(0)
    spread = scores.std((1, 2), keepdim=True) + 1e-9
    rows = (scores / spread).flatten(0, 1).T  # (inputs, metrics with items x checkpoints)
    medoids, members = k_medoids(torch.cdist(rows, rows), n_inputs, generator)
    return pool[medoids], torch.bincount(members, minlength=len(medoids)) / len(pool)


def k_medoids(
    apart: Float[Tensor, "n n"], k: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """(medoids, cluster of each point): medoids and members in turn until nothing moves."""
    medoids = torch.randperm(len(apart), generator=generator)[:1]
    while len(medoids) < k:  # as k-means++ does
        chance = apart[:, medoids].amin(1).square()
        medoids = torch.cat([medoids, torch.multinomial(chance, 1, generator=generator)])
    for _ in range(STEPS):
        members = apart[:, medoids].argmin(1)
        costs = torch.zeros(k, len(apart)).index_add(0, members, apart)
        own = members == torch.arange(k)[:, None]
        moved = costs.masked_fill(~own, torch.inf).argmin(1)
        if torch.equal(moved, medoids):
            break
        medoids = moved
    return medoids, apart[:, medoids].argmin(1)


def _items(
    subject: Subject, asked: Sequence[Example], places: Tensor
) -> Float[Tensor, "items n inputs"]:
    """Scores of single inputs, for the metrics that have them, in the order of the metrics."""
    targets = None if subject.targets is None else subject.targets[places]
    found = []
    for group in groups(tqdm(asked, desc="items", unit="file")):
        answers = subject.answer_stack([example.state for example in group], subject.inputs[places])
        for one in answers:
            items = subject.items(one, targets)
            found.append([items[m.name].float() for m in subject.metrics if m.name in items])
    return (
        torch.stack([torch.stack(items) for items in found], 1)
        if found[0]
        else torch.zeros(0, 0, 0)
    )


def _count(
    subject: Subject, asked: Sequence[Example], places: Tensor, weights: Tensor
) -> Float[np.ndarray, "n metrics"]:
    result = np.full((len(asked), len(subject.metrics)), np.nan)
    if len(places):
        answers = subject.answer_stack([asked[0].state], subject.inputs[places])[0]
        targets = None if subject.targets is None else subject.targets[places]
        with_items = subject.items(answers, targets)
        kept = [i for i, m in enumerate(subject.metrics) if m.name in with_items]
        result[:, kept] = (_items(subject, asked, places) @ weights).T
    return result


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
    splits: Annotated[list[str], typer.Option("--split")] = ["test", "heldout"],  # noqa: B006
) -> None:
    """Write the table and print it."""
    family = load_subject(subject)
    fitted = load_map(map_file, family) if map_file else fit_library(library, family, inputs)
    table = first_results(library, fitted, splits)
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


if __name__ == "__main__":
    typer.run(main)
