"""Forecasts in weight space, on runs whose weights are made to go straight on."""

import numpy as np
import pandas as pd
import pytest
import torch

from epsvae.subjects.ternary import (
    METRIC_NAMES,
    Architecture,
    embed,
    evaluate,
    init_state,
    operation_trits,
)
from epsvae.subjects.ternary.library.anchors import anchor_operations
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.layout import all_layout, key_layout
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.uses.trajectory import Trajectory
from research.studies.trajectories import SHARES, best_weight_damping, trajectory_tables
from research.uses.endpoint import early_part

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)
LAYOUT = all_layout(SMALL)
EPOCHS = np.arange(2.0, 22.0, 2.0)


def make_split(runs: list[str], seed: int, bend: float = 1.0) -> ExtractedSplit:
    """Runs that go straight on, after 40 % of their epochs at `bend` times the speed."""
    generator = torch.Generator().manual_seed(seed)
    way = torch.from_numpy(np.minimum(EPOCHS, 8) + bend * np.maximum(EPOCHS - 8, 0)).float()
    vectors = []
    for _ in runs:
        start = LAYOUT.flatten(init_state(SMALL, generator) | {"max_radius": torch.tensor([0.9])})
        velocity = 0.02 * torch.randn(len(start), generator=generator)
        velocity[-1] = 0
        vectors.append(start + way[:, None] * velocity)
    stacked = torch.cat(vectors)
    n_key = key_layout(SMALL).n_weights
    trits = operation_trits(anchor_operations()).expand(len(stacked), -1, -1)
    radii = stacked[:, -1].view(-1, 1, 1)
    metrics = [evaluate(LAYOUT.unflatten(v), SMALL, 0.9).vector() for v in stacked[9::10]]
    index = pd.DataFrame({"run": np.repeat(runs, 10), "epoch": np.tile(EPOCHS, len(runs))})
    return ExtractedSplit(
        weights=stacked[:, :n_key].numpy(),
        rest=stacked[:, n_key:].numpy(),
        embeddings=embed(LAYOUT.unflatten(stacked), SMALL, trits, radii).numpy(),
        metrics=np.repeat(metrics, 10, axis=0),
        index=index,
        anchors=anchor_operations(),
        architecture=SMALL,
    )


@pytest.fixture(scope="module")
def data():
    splits = {"a": ["a0", "a1"], "b": ["b0"], "c": ["c0", "c1"]}
    return MapData(*(make_split(runs, seed) for seed, runs in enumerate(splits.values())))


@pytest.fixture(scope="module")
def tables(data):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, architecture=SMALL)).eval()
    return trajectory_tables(data, model)


def test_straight_on_ends_where_straight_runs_end(data, tables):
    forecast = tables["forecast"]
    assert len(forecast) == len(SHARES) * 3 * 2
    linear = forecast[forecast["method"] == "linear"]
    assert linear["poincare"].max() < 1e-3
    true = np.tile(data.test.metrics[9::10], (len(SHARES), 1))
    np.testing.assert_allclose(linear[list(METRIC_NAMES)], true, atol=2e-3)
    damped = forecast[forecast["method"] == "damped"]
    assert (damped["damping"] == 1).all()
    assert (forecast.query("method == 'persistence'")["poincare"] > linear["poincare"].max()).all()
    assert forecast.filter(regex=r"^z\d+$").shape[1] == 12
    assert np.isfinite(forecast.select_dtypes("number")).all(axis=None)


def test_the_damping_of_bent_runs():
    split = make_split(["d0", "d1"], 7, bend=0.3)
    vectors = np.hstack([split.weights, split.rest])
    paths = [Trajectory(EPOCHS, vectors[10 * i : 10 * i + 10]) for i in range(2)]
    runs = [(early_part(path, 0.4), 10 * i + 9) for i, path in enumerate(paths)]
    assert best_weight_damping(runs, split) == pytest.approx(0.3)


def test_paths_of_weights(data, tables):
    paths = tables["weight_paths"]
    assert paths["split"].value_counts().to_dict() == {"train": 20, "test": 20, "validation": 10}
    run = paths[paths["run"] == "c0"]
    assert np.isnan(run["step"].iloc[0])
    np.testing.assert_allclose(run["step"][1:] / 2, run["pace"].iloc[-1], rtol=1e-4)
