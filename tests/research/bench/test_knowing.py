"""The price of knowing, of a small library; times are there, and decide nothing."""

import numpy as np
import pandas as pd
import pytest

from epsvae.errors import LibraryError
from research.bench import knowing, price_of_knowing, ways
from research.bench.knowing import COLUMNS, ERRORS, size_on_disk


@pytest.fixture(scope="module")
def price(artifacts):
    with pytest.MonkeyPatch.context() as patch:
        small = {"PROBES": (8,), "ROUNDS": 2, "SINGLES": 1, "BATCH": 4, "FEW": 2, "N_FILES": 2}
        for name, value in small.items():
            patch.setattr(knowing, name, value)
        patch.setattr(ways, "TREES", 10)
        return price_of_knowing(artifacts)


@pytest.fixture(scope="module")
def values(price):
    return price.pivot(index="row", columns="measure", values="value")


def test_the_table_is_tidy(price):
    assert tuple(price.columns) == COLUMNS
    assert not price.duplicated(["row", "measure"]).any()
    assert (price.groupby("row")["access"].nunique() == 1).all()


def test_every_way_has_every_measure_that_it_can_have(values):
    assert len(values) == 8
    always = ["multiply_adds", "bytes", "checkpoints"]
    always += [f"milliseconds_{kind}" for kind in ("one", "batch", "files")]
    assert values[always].notna().all(axis=None)
    nothing_known = values[list(ERRORS)].isna().all(axis=1)
    assert list(values.index[nothing_known]) == ["reading the weights once"]
    no_embeddings = values["milliseconds_embeddings"].isna()
    assert {"statistics, ExtraTrees", "full evaluation"} <= set(values.index[no_embeddings])
    assert values.loc[no_embeddings, "embedding_unexplained"].isna().all()
    assert (values["multiply_adds_embeddings"].isna() == no_embeddings).all()


def test_times_are_ordered(price):
    times = price[price["measure"].str.startswith("milliseconds")]
    assert (times["low"] <= times["value"]).all()
    assert (times["value"] <= times["high"]).all()


def test_errors_fall_to_nothing_where_the_network_runs(values):
    exact = values.loc["full evaluation"]
    assert exact[["coverage_mae", "distance_correlation_mae", "radial_hierarchy_mae"]].max() < 1e-6
    assert values.loc["256 anchors", "embedding_unexplained"] < 1e-6
    # A constant predicts no better than a constant; the test runs' own mean would give exactly 1.
    assert values.loc["training mean", "embedding_unexplained"] == pytest.approx(1, abs=1e-4)


def test_the_flat_encoder_quotes_the_validation_table(price):
    flat = price[price["row"] == "flat encoder"].set_index("measure")
    np.testing.assert_allclose(
        flat.loc["embedding_unexplained", ["value", "low", "high"]].tolist(), [0.3, 0.1, 0.4]
    )
    assert flat.loc["coverage_mae", "value"] == 0.1


def test_a_constant_is_small_and_the_flat_encoder_is_not(values):
    assert values.loc["reading the weights once", "bytes"] == 0
    assert values.loc["training mean", "bytes"] < 20_000
    assert values.loc["flat encoder", "bytes"] > 4 * 52_000_000
    assert size_on_disk(None) == 0


@pytest.mark.parametrize("table", ["none", "without the row"])
def test_a_missing_protocol_is_named(artifacts, tmp_path, table):
    for name in ("library", "epsilon_vae_hybrid"):
        (tmp_path / name).symlink_to(artifacts / name)
    path = tmp_path / "release" / "protocol.parquet"
    if table != "none":
        path.parent.mkdir()
        columns = ["regime", "split", "row", "measure", "value", "low", "high"]
        pd.DataFrame(columns=columns).to_parquet(path)
    with pytest.raises(LibraryError, match=f"{path}: expected (the protocol|a row)"):
        price_of_knowing(tmp_path)
