"""The tables behind the chapter on trust: intervals, off-map scores beside errors, invariance.

They read what `make reproduce` built; some three minutes on one core.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from jaxtyping import Float

from epsvae.errors import LibraryError
from epsvae.map.intervals import distances, local_errors, run_quantile
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.files import Checkpoint, load_checkpoint
from epsvae.subjects.ternary.map.calibrate import calibrate, calibration_errors
from epsvae.subjects.ternary.map.calibration import LOWEST, Calibration
from epsvae.subjects.ternary.map.data import (
    ARRAYS,
    BOTH,
    MapData,
    all_weights,
    load_map_data,
    metrics_of,
    models_folder,
    together,
)
from epsvae.subjects.ternary.map.files import AnyMap, load_epsilon_vae
from epsvae.subjects.ternary.map.fit_offmap import vectors_fingerprint
from epsvae.subjects.ternary.map.model import EpsilonVAE
from research.trust.audit import audit_table
from research.trust.samples import Sample, draw_samples

AUDITED_EVERY = 6
"""Of the first test run of each regime, one checkpoint in six is audited."""
RULES = ("same width", "local width")
"""Intervals as wide everywhere, or as wide as errors nearby suggest."""
CHOSEN = "local width"


@dataclass(frozen=True, eq=False)
class CalibratedMap:
    """The default map of a library, what it was trained on, and how far to trust it."""

    model: EpsilonVAE
    data: MapData
    calibration: Calibration


def calibrated_maps(artifacts: Path) -> dict[str, CalibratedMap]:
    """The default maps that `make reproduce` built under `artifacts`, calibrated, by library."""
    maps = default_maps(artifacts)
    return {
        k: CalibratedMap(model, data, calibrate(model, data)) for k, (model, data) in maps.items()
    }


def default_maps(artifacts: Path) -> dict[str, tuple[EpsilonVAE, MapData]]:
    """The default maps that `make reproduce` built, and their libraries' data, by library."""
    found = {library: load_map_data(artifacts / folder) for library, folder in ARRAYS.items()}
    found[BOTH] = together(list(found.values()))
    return {library: (_default_map(artifacts, library), data) for library, data in found.items()}


def _default_map(artifacts: Path, library: str) -> EpsilonVAE:
    model = load_epsilon_vae(models_folder(artifacts, library) / "best.pt")
    if not isinstance(model, EpsilonVAE):
        raise LibraryError(f"{library}: expected the default map, found {type(model).__name__}")
    return model


def trust_tables(
    maps: Mapping[str, CalibratedMap], root: Path, seed_map: AnyMap | None = None
) -> dict[str, pd.DataFrame]:
    """Tables ``intervals``, ``offmap`` and ``audit`` of calibrated maps; `root` holds the files.

    The seed's flat map is audited beside the default one if it is given. The same artifacts give
    the same tables.
    """
    intervals, offmap = [], []
    for library, own in maps.items():
        intervals.append(interval_table(own.model, own.data).assign(library=library))
        known = {library, BOTH} if library != BOTH else maps
        others = [other.data for name, other in maps.items() if name not in known]
        samples = draw_samples(own.data, others, root)
        scores = offmap_table(own.model, own.calibration, samples)
        offmap.append(scores.assign(library=library))
    aligned = maps["aligned"]
    named: dict[str, AnyMap] = {"default": aligned.model}
    if seed_map is not None:
        named["seed hybrid"] = seed_map
    offmaps = {"default": aligned.calibration.offmap}
    audit = audit_table(named, _audited(root, aligned.data), offmaps)
    return {
        "intervals": _compact(pd.concat(intervals, ignore_index=True)),
        "offmap": _compact(pd.concat(offmap, ignore_index=True)),
        "audit": audit,
    }


def _compact(frame: pd.DataFrame) -> pd.DataFrame:
    """Floats in single precision, words as categories: a third of the size."""
    kinds = {name: "float32" for name in frame.select_dtypes("float64")}
    kinds |= {name: "category" for name in frame.select_dtypes(["object", "string"])}
    return frame.astype(kinds)


@torch.no_grad()
def interval_table(model: EpsilonVAE, data: MapData) -> pd.DataFrame:
    """Every interval of both `RULES`: one row a rule, checkpoint and metric.

    Columns rule, split, run, regime, epoch, metric, predicted, true, low, high. Rows of the split
    ``left out`` are the calibration runs, each with an interval calibrated on the others; there the
    prediction is that of the map without the run, so that a rule can be chosen without the test.
    """
    z, errors, runs = calibration_errors(model, data)
    index = pd.concat([data.train.index, data.validation.index], ignore_index=True)
    true = index[list(METRIC_NAMES)].to_numpy()
    parts = []
    z_test = model.encode(all_weights(data.test)).numpy()
    predicted = model.predict_metrics(torch.from_numpy(z_test)).double().numpy()
    for rule in RULES:
        own, new = (
            _widths(rule, apart, errors) for apart in (distances(z, z, runs), distances(z_test, z))
        )
        scores = errors / own
        test = new * [run_quantile(s, runs) for s in scores.T]
        left_out = np.empty_like(own)
        for run in np.unique(runs):
            here = runs == run
            left_out[here] = own[here] * [run_quantile(s, runs[~here]) for s in scores[~here].T]
        # Signs are not kept: an error lies as far above as below.
        parts += [
            _long(index, true + errors, true, left_out).assign(rule=rule, split="left out"),
            _long(data.test.index, predicted, metrics_of(data.test).double().numpy(), test).assign(
                rule=rule, split="test"
            ),
        ]
    return pd.concat(parts, ignore_index=True)


def _widths(
    rule: str, apart: Float[np.ndarray, "m n"], errors: Float[np.ndarray, "n 3"]
) -> Float[np.ndarray, "m 3"]:
    return local_errors(apart, errors) if rule == "local width" else np.ones((len(apart), 3))


def _long(
    index: pd.DataFrame,
    predicted: Float[np.ndarray, "n 3"],
    true: Float[np.ndarray, "n 3"],
    half: Float[np.ndarray, "n 3"],
) -> pd.DataFrame:
    frames = []
    for column, name in enumerate(METRIC_NAMES):
        centre, reach = predicted[:, column], half[:, column]
        frames.append(
            index[["run", "regime", "epoch"]]
            .reset_index(drop=True)
            .assign(
                metric=name,
                predicted=centre,
                true=true[:, column],
                low=np.maximum(centre - reach, LOWEST[column]),
                high=np.minimum(centre + reach, 1.0),
            )
        )
    return pd.concat(frames, ignore_index=True)


@torch.no_grad()
def offmap_table(
    model: EpsilonVAE, calibration: Calibration, samples: Iterable[Sample]
) -> pd.DataFrame:
    """Off-map scores beside errors, one row a checkpoint.

    Columns kind, strength, layer, run, reading, weights, block (the weights that stand out), error
    (mean over the metrics), and for each metric its error and whether its interval holds. A network
    without finite embeddings has no metrics: its errors are NaN.
    """
    return pd.concat([_scored(model, calibration, s) for s in samples], ignore_index=True)


def _scored(model: EpsilonVAE, calibration: Calibration, sample: Sample) -> pd.DataFrame:
    split = sample.split
    states = split.layout.unflatten(sample.vectors)
    seen = model.read_state(states, split.architecture, sample.vectors[:, -1])
    z = model.latent(seen)
    metrics = model.predict_metrics(z).double().numpy()
    low, high = calibration.intervals(z.numpy(), metrics)
    novelty = calibration.offmap(vectors_fingerprint(model, sample.vectors, split))
    errors = np.abs(metrics - sample.metrics)
    inside = (low <= sample.metrics) & (sample.metrics <= high)
    columns: dict[str, object] = {
        "kind": sample.kind,
        "strength": sample.strength,
        "layer": list(sample.layers),
        "run": list(sample.runs),
        "reading": novelty.reading.score.numpy(),
        "weights": novelty.weights.score.numpy(),
        "block": novelty.weights.block,
        "error": errors.mean(1),
    }
    for column, name in enumerate(METRIC_NAMES):
        columns |= {f"{name}_error": errors[:, column], f"{name}_inside": inside[:, column]}
    return pd.DataFrame(columns)


def _audited(root: Path, data: MapData) -> list[Checkpoint]:
    """Every few checkpoints of the first test run of each regime."""
    index = data.test.index.sort_values(["started", "epoch"])
    first = index.groupby("regime")["run"].transform("first") == index["run"]
    return [load_checkpoint(root / file) for file in index.loc[first, "file"][::AUDITED_EVERY]]
