"""The full protocol at a scale of seconds: resumable, in every regime."""

from dataclasses import replace
from functools import partial

import numpy as np
import pandas as pd
import pytest

from epsvae.subjects.ternary.library import extract_library
from epsvae.subjects.ternary.map import train
from epsvae.subjects.ternary.map.data import load_map_data
from epsvae.subjects.ternary.map.model import MapConfig
from epsvae.subjects.ternary.map.tune import TuneConfig
from research.rows import ROWS, evaluate
from research.rows.cells import cell
from research.rows.evaluate import OTHER_WIDTHS, evaluate_rows
from research.rows.foreign import foreign_splits
from research.rows.judge import STUDY_COLUMNS
from research.rows.own import Trainings
from research.ternary import build_libraries
from research.ternary.recipes import BaseRecipe, draw_recipe

NAMES = ["training mean", "nearest neighbour", "ridge on weights", "256 anchors", "default"]
PLAN = [
    *(
        ("aligned", split, "frozen", {})
        for split in ("train",) * 4 + ("validation", "test", "test")
    ),
    *(("bases", "test", regime, {}) for regime in ("frozen", "progressive")),
    ("architectures", "test", "frozen", {"projection_hidden": 8}),
    ("architectures", "test", "frozen", {"projection_layers": 2}),
]


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory, medium):
    """Seven aligned runs, two on another base, two of other architectures; 4 checkpoints each."""
    folder, rng, recipes = tmp_path_factory.mktemp("artifacts"), np.random.default_rng(0), []
    for started, (library, split, regime, changed) in enumerate(PLAN):
        seed = 1 if library == "bases" else 0
        architecture = replace(medium, **changed)
        name = f"base-{seed}-{'-'.join(changed)}"
        base = BaseRecipe(name, seed, architecture, lr=1e-2, max_steps=10, target_coverage=0.0)
        fixed = {"library": library, "split": split, "started": started, "base": base}
        fixed |= {"name": f"{library}-{started}", "lr": 5e-3, "epochs": 1, "n_checkpoints": 4}
        recipes.append(draw_recipe(regime, rng, **fixed))
    index = build_libraries(folder / "library", recipes, n_jobs=1)
    aligned = index[index["library"] == "aligned"]
    extract_library(aligned, folder / "library", folder / evaluate.ARRAYS["aligned"])
    return folder


@pytest.fixture(scope="module", autouse=True)
def small_map(medium, quick_decoder):
    with pytest.MonkeyPatch.context() as patch:
        config = MapConfig(latent_dim=8, n_probes=16, curve_rank=4, architecture=medium)
        patch.setattr(train, "MapConfig", lambda seed: replace(config, seed=seed))
        patch.setattr(train, "TuneConfig", partial(TuneConfig, epochs=1))
        patch.setattr(train, "fit_weight_decoder", quick_decoder)
        yield


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def tables(artifacts, cache):
    return evaluate_rows(artifacts, "aligned", cache, seeds=(0, 1), names=NAMES)


@pytest.fixture(scope="module")
def data(artifacts):
    return load_map_data(artifacts / evaluate.ARRAYS["aligned"])


def test_every_regime_has_the_rows_that_can_read_it(tables):
    table = tables["protocol"]
    assert tuple(table.columns) == STUDY_COLUMNS
    assert not table.duplicated(["regime", "split", "row", "measure"]).any()
    rows = table.groupby("regime")["row"].unique().map(set).to_dict()
    any_architecture = {f"{n} (aligned)" for n in ("training mean", "256 anchors", "default")}
    statistics = any_architecture | {"nearest neighbour (aligned)"}
    assert rows == {
        "aligned": set(NAMES),
        "bases": {f"{name} (aligned)" for name in NAMES},
        "architectures": any_architecture,
        OTHER_WIDTHS: statistics,
    }
    assert set(table[table["regime"] == "aligned"]["split"]) == {"validation", "test"}
    assert set(table[table["regime"] != "aligned"]["split"]) == {"test"}
    seeds = table.groupby("row")["seeds"].unique().map(list)
    assert seeds["default"] == seeds["default (aligned)"] == [2]
    assert seeds["training mean"] == [1]


def test_anchors_are_exact_everywhere(tables):
    rows = tables["protocol"][tables["protocol"]["row"].str.startswith("256 anchors")]
    found = rows.pivot(index=["regime", "split"], columns="measure", values="value")
    np.testing.assert_allclose(found[["embedding_r2", "procrustes_cosine", "cka"]], 1, atol=1e-4)


def test_differences_are_paired_within_a_regime(tables):
    paired = tables["paired"]
    assert set(paired["reference"]) == {"default", "default (aligned)"}
    foreign = paired["regime"] != "aligned"
    assert paired[foreign]["row"].str.endswith(" (aligned)").all()
    assert set(paired["better"]) <= {"open", *paired["row"], *paired["reference"]}


def test_costs_are_counted_by_seed(tables):
    assert len(tables["costs"]) == len(NAMES) + 1  # the default map was trained twice
    costs = tables["costs"].set_index("row")
    assert (costs["predict_seconds"] >= 0).all()
    assert costs["fit_seconds"].isna().groupby("row").all().to_dict() == {
        name: name == "default" for name in NAMES
    }


def test_a_second_call_fits_nothing_and_gives_the_same(artifacts, cache, tables, monkeypatch):
    def fail(*_):
        raise AssertionError("this row was fitted")

    rows = {name: replace(row, fit=fail) for name, row in ROWS.items()}
    monkeypatch.setattr(evaluate, "ROWS", rows)
    again = evaluate_rows(artifacts, "aligned", cache, seeds=(0, 1), names=NAMES)
    pd.testing.assert_frame_equal(again["protocol"], tables["protocol"])
    pd.testing.assert_frame_equal(again["paired"], tables["paired"])


def test_other_checkpoints_are_predicted_anew(data, tmp_path):
    calls = []

    def fit(known, seed):
        calls.append(seed)
        return ROWS["training mean"].fit(known, seed)

    row, parts = replace(ROWS["training mean"], fit=fit), {"test": [data.test]}
    trainings = Trainings(tmp_path, "aligned", tmp_path)
    for wanted in (parts, parts, {"test": [data.test], "again": [data.test]}):
        found = cell("mean", row, data, 0, wanted, trainings).predictions
    assert len(calls) == 2
    assert set(found) == {"test", "again"}
    np.testing.assert_array_equal(found["again"].metrics, found["test"].metrics)


def test_training_seed_0_is_the_reproduced_one(artifacts, cache, tables):
    models = artifacts / f"{evaluate.ARRAYS['aligned']}_models"
    assert (models / "best.pt").is_file()
    assert len(list(cache.glob("*/best.pt"))) == 1  # of seed 1


def test_foreign_checkpoints_are_those_of_the_index(artifacts):
    index = pd.read_parquet(artifacts / "library" / "index.parquet")
    splits = foreign_splits(index, artifacts / "library", "architectures")
    assert [len(split.metrics) for split in splits] == [4, 4]
    assert splits[0].architecture != splits[1].architecture
    files = [file for split in splits for file in split.index["file"]]
    assert files == index[index["library"] == "architectures"]["file"].tolist()


def test_forecasting_is_another_regime(artifacts, cache):
    names = ["training mean", "nearest neighbour"]
    tables = evaluate_rows(artifacts, "aligned", cache, names=names, later=True)
    assert set(tables["protocol"]["regime"]) == {"aligned, later in the run"}
    assert tables["paired"].empty
    near = tables["protocol"].set_index(["split", "row", "measure"])["value"]
    assert near["test", "nearest neighbour", "embedding_r2"] > 0  # its own past is near
