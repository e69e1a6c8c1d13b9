"""The table of decoded checkpoints on a small library, whose last test checkpoint is a training
one: what comes back is known there."""

import numpy as np
import pandas as pd
import pytest
import torch

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import METRIC_NAMES, Architecture, init_state
from epsvae.subjects.ternary.library.anchors import anchor_operations
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.layout import all_layout, key_layout
from epsvae.subjects.ternary.map.data import MapData, all_weights
from epsvae.subjects.ternary.map.fit import fit_map
from epsvae.subjects.ternary.map.model import MapConfig
from epsvae.subjects.ternary.map.train_weights import WeightTraining, fit_weight_decoder
from epsvae.subjects.ternary.map.weights_out import WeightDecoderConfig
from epsvae.subjects.ternary.uses import realise, run_weights
from research.rows.judge import measures
from research.studies import decoding

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)
LAYOUT = all_layout(SMALL)
WAYS = ["linear", "nearest", "noise 1%", "noise 5%", "predicted", "spherical"]


def make_split(runs: list[str], seed: int) -> ExtractedSplit:
    """Two checkpoints a run, around one network."""
    generator = torch.Generator().manual_seed(9)
    state = init_state(SMALL, generator) | {"max_radius": torch.tensor([0.9])}
    steps = 0.05 * torch.randn(
        2 * len(runs), LAYOUT.n_weights, generator=generator.manual_seed(seed)
    )
    steps[:, -1] = 0
    return split_of(LAYOUT.flatten(state) + steps, runs)


def split_of(vectors: torch.Tensor, runs: list[str]) -> ExtractedSplit:
    """Vectors of all parameters, with what their networks do, as a split."""
    metrics, embeddings = run_weights(SMALL, vectors, n_jobs=1)
    n_key = key_layout(SMALL).n_weights
    return ExtractedSplit(
        weights=vectors[:, :n_key].numpy(),
        rest=vectors[:, n_key:].numpy(),
        embeddings=embeddings.numpy(),
        metrics=metrics.numpy(),
        index=pd.DataFrame({"run": np.repeat(runs, 2), "epoch": [1.0, 2.0] * len(runs)}),
        anchors=anchor_operations(),
        architecture=SMALL,
    )


@pytest.fixture(scope="module")
def data():
    train, validation, test = (make_split(r, i) for i, r in enumerate((list("abcd"), ["v"], ["t"])))
    vectors = torch.cat([all_weights(test, [0]), all_weights(train, [5])])
    return MapData(train, validation, split_of(vectors, ["t"]))


@pytest.fixture(scope="module")
def plain(data):
    config = MapConfig(latent_dim=7, n_probes=6, curve_rank=2, architecture=SMALL)
    return fit_map(data, config)


@pytest.fixture(scope="module")
def model(data, plain):
    return fit_weight_decoder(plain, data, WeightDecoderConfig(hidden=8, rank=2), QUICK).model


QUICK = WeightTraining(epochs=2, n_pool=256, n_operations=16)


@pytest.fixture
def ask(data, model, monkeypatch, tmp_path):
    """What to call `decoding_table` with."""

    def quick(*args, seed):
        return fit_weight_decoder(*args, QUICK, seed)

    release = type("SmallRelease", (), {"map": lambda self, library: model})()
    monkeypatch.setattr(decoding, "open_release", lambda _: release)
    monkeypatch.setattr(decoding, "load_map_data", lambda _: data)
    monkeypatch.setattr(decoding, "fit_weight_decoder", quick)
    return tmp_path, tmp_path, tmp_path / "cache"


def test_every_checkpoint_comes_back_in_every_way_once(ask, data, model, monkeypatch):
    table = decoding.decoding_table(*ask)
    assert list(table.columns) == list(decoding.COLUMNS)
    assert table.groupby(["library", "way", "seed"]).size().eq(2).all()
    assert table.groupby("way")["seed"].unique().map(list).to_dict() == {
        "decoded": [0, 1, 2],
        **dict.fromkeys([*WAYS, "mean weights"], [0]),
    }
    assert (table["training_seconds"].notna() == (table["seed"] > 0)).all()
    decoded = table[(table["way"] == "decoded") & (table["library"] == "aligned")]
    z = model.encode(all_weights(data.test))
    realised = realise(model, z).metrics.numpy()
    np.testing.assert_allclose(
        decoded.loc[decoded["seed"] == 0, list(METRIC_NAMES)], realised, atol=1e-3
    )
    assert decoded["squared_error"].nunique() == 6

    def again(*_):
        raise AssertionError("this cell was in the cache")

    monkeypatch.setattr(decoding, "seed_table", again)
    pd.testing.assert_frame_equal(decoding.decoding_table(*ask), table)


def test_a_checkpoint_that_training_knows_comes_back_from_training(data, model):
    table = decoding.seed_table(model, data, 0)
    known = table[table["epoch"] == 2.0].set_index("way")
    exact = known.loc[["nearest", "linear", "spherical"]]
    np.testing.assert_allclose(
        exact[list(METRIC_NAMES)], np.tile(data.test.metrics[1], (3, 1)), 1e-3
    )
    assert (exact["squared_error"] < 1e-8 * exact["mean_squared_error"]).all()
    assert exact["cosine"].to_list() == pytest.approx([1.0] * 3)
    noisy = known.loc[["noise 1%", "noise 5%"], "squared_error"].to_list()
    assert exact["squared_error"].max() < noisy[0] < noisy[1]
    new = table[table["epoch"] == 1.0].set_index("way")
    assert (new["squared_error"] > 1e-4 * new["mean_squared_error"]).all()


def test_scores_are_those_of_the_rows_themselves(data, model):
    table = decoding.seed_table(model, data, 0).iloc[::-1]
    truth = data.test.index.assign(**dict(zip(METRIC_NAMES, data.test.metrics.T, strict=True)))
    (scores,) = decoding.seed_scores(table[table["way"] == "mean weights"], truth)
    assert scores.runs.tolist() == ["t", "t"]
    np.testing.assert_array_equal(scores.true, data.test.metrics[::-1])
    part = table[table["way"] == "mean weights"]
    r2 = 1 - part["squared_error"].sum() / part["mean_squared_error"].sum()
    assert measures(scores)["embedding_r2"](np.ones((1, 2)))[0] == pytest.approx(r2, abs=1e-6)


def test_a_map_without_a_weight_decoder_is_refused(ask, plain, monkeypatch):
    release = type("SmallRelease", (), {"map": lambda self, library: plain})()
    monkeypatch.setattr(decoding, "open_release", lambda _: release)
    with pytest.raises(LibraryError, match="expected a map that decodes weights"):
        decoding.decoding_table(*ask)
