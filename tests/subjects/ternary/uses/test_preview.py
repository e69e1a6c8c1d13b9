"""Previews: predicted beside true anchors, for files of ours and of others."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.subjects.ternary import Architecture, embed, init_state, operation_trits, poincare
from epsvae.subjects.ternary.library.anchors import anchor_operations
from epsvae.subjects.ternary.library.files import load_checkpoint, save_checkpoint
from epsvae.subjects.ternary.map.calibration import load_calibration
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.subjects.ternary.map.release import open_release
from epsvae.subjects.ternary.uses.preview import (
    COLUMNS,
    anchor_errors,
    anchor_valuations,
    errors_by_valuation,
    geodesic_disk,
    mean_error,
    neighbours_kept,
    pairwise,
    preview_checkpoint,
    preview_files,
    true_anchors,
)

RELEASE = open_release(Path(__file__).resolve().parents[4] / "data" / "reference")
FILES = RELEASE.checkpoint_files()


@pytest.fixture
def points():
    """Forty points of the ball in 5 dimensions, out to norm 0.97."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 5))
    return x / np.linalg.norm(x, axis=1, keepdims=True) * rng.uniform(0, 0.97, (40, 1))


def test_truth_is_what_the_network_does(model):
    checkpoint = load_checkpoint(FILES[10])
    seen = preview_checkpoint(model, checkpoint)
    trits = operation_trits(anchor_operations())
    with torch.no_grad():
        run = embed(checkpoint.state, checkpoint.architecture, trits, checkpoint.max_radius)
        predicted = model.decode_embeddings(model.encode(checkpoint))
    assert torch.equal(seen.true, run)
    assert torch.equal(seen.predicted, predicted)
    assert torch.equal(seen.errors, poincare.distance(predicted, run))
    assert not seen.turned


def test_the_true_anchors_are_those_of_the_library():
    index = RELEASE.rows("aligned", "test")
    name = f"{FILES[10].parent.name}/{FILES[10].name}"
    row = index.index[index["file"].str.endswith(name)][0]
    stored = RELEASE.embeddings("aligned", "test")[row]
    np.testing.assert_allclose(true_anchors(load_checkpoint(FILES[10])), stored, atol=1e-3)


def test_a_checkpoint_in_another_frame_is_turned(model):
    """Turn the ball: the same network for every metric, foreign axes for the map."""
    checkpoint = load_checkpoint(FILES[10])
    turn = torch.linalg.qr(torch.randn(16, 16, generator=torch.Generator().manual_seed(0)))[0]
    plain = preview_checkpoint(model, checkpoint)
    turned = preview_checkpoint(model, replace(checkpoint, state=turned_state(checkpoint, turn)))
    assert turned.turned
    apart = pairwise(turned.true.numpy())
    np.testing.assert_allclose(apart, pairwise(plain.true.numpy()), atol=1e-3)
    assert turned.errors.mean() < 2 * plain.errors.mean() + 0.05


def turned_state(checkpoint, turn):
    """The same network in other axes: encoder A's mean and its readers turn together."""
    state, last = dict(checkpoint.state), {}
    for name, *_ in checkpoint.architecture.linears("projection.proj_A"):
        kind = name.rsplit(".", 1)[0]
        if kind not in last:
            state[f"{name}.weight"] = state[f"{name}.weight"] @ turn.T
        last[kind] = name
    (direction,) = (name for kind, name in last.items() if kind.endswith("direction_net"))
    for layer in ("encoder_A.fc_mu", direction):
        for part in ("weight", "bias"):
            state[f"{layer}.{part}"] = turn @ state[f"{layer}.{part}"]
    first = checkpoint.architecture.linears("decoder_A")[0][0]
    state[f"{first}.weight"] = state[f"{first}.weight"] @ turn.T
    return state


def test_a_folder_by_one_call(model, tmp_path):
    torch.save({"model_state_dict": load_checkpoint(FILES[0]).state}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_text("text")
    small = Architecture(latent_dim=8, encoder_widths=(6,), decoder_widths=(6,))
    other = replace(
        load_checkpoint(FILES[0]),
        architecture=small,
        state=init_state(small, torch.Generator().manual_seed(0)),
    )
    save_checkpoint(tmp_path / "c.safetensors", other)
    calibration = load_calibration(RELEASE.folder / "aligned" / "calibration.safetensors")
    table, refused = preview_files(TernaryMap(model, calibration), [tmp_path])
    assert list(table.columns) == list(COLUMNS)
    assert list(table["file"]) == [str(tmp_path / "a.pt")]
    assert (table["worst"] >= table["error"]).all()
    assert set(table["worst_anchor"]) <= set(anchor_operations().tolist())
    assert [reason.split(":")[0] for reason in refused] == [
        str(tmp_path / "b.pt"),
        str(tmp_path / "c.safetensors"),
    ]
    assert "expected embeddings of dimension 16, found 8" in refused[1]
    (tmp_path / "empty").mkdir()
    nothing, why = preview_files(TernaryMap(model), [tmp_path / "empty"])
    assert nothing.empty
    assert len(why) == 1


def test_weights_that_overflow_are_refused_by_name(model):
    checkpoint = load_checkpoint(FILES[0])
    state = {name: value * 1e30 for name, value in checkpoint.state.items()}
    with pytest.raises(CheckpointError, match=f"{FILES[0]}: expected finite embeddings"):
        preview_checkpoint(model, replace(checkpoint, state=state))


def test_errors_inside_and_outside_the_ball():
    true = torch.tensor([[[0.5, 0.0], [0.0, 0.9]]])
    assert anchor_errors(true, true).max() < 1e-2
    assert anchor_errors(true * 5, true).isfinite().all()
    for bad in (true * 2, true * torch.nan):
        with pytest.raises(EpsvaeError, match="true: expected points inside the unit ball"):
            anchor_errors(true, bad)


def test_by_valuation():
    valuations = anchor_valuations()
    assert len(valuations) == 256
    errors = np.tile(valuations.astype(float), (6, 1))
    runs = np.repeat(np.array(["a", "b", "c"], dtype=object), 2)
    table = errors_by_valuation(errors, runs, valuations)
    assert table["anchors"].sum() == 256
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(table[name], table["valuation"])
    one = mean_error(np.array([1.0, 3.0]), np.array(["a", "a"], dtype=object))
    assert one[0] == 2
    assert np.isnan(one[1:]).all()


def test_the_geodesic_disk_is_the_nearest_point_and_lets_no_distance_grow(points):
    axes = np.linalg.qr(np.random.default_rng(1).normal(size=(5, 2)))[0]
    flat = geodesic_disk(points, axes)
    assert (np.linalg.norm(flat, axis=1) < 1).all()
    assert (pairwise(flat) <= pairwise(points) + 1e-6).all()
    inside = flat @ axes.T
    np.testing.assert_allclose(geodesic_disk(inside, axes), flat, atol=1e-12)
    true = torch.tensor(points)
    at = poincare.distance(torch.tensor(inside), true)
    for step in np.random.default_rng(2).normal(scale=0.05, size=(20, 2)):
        moved = torch.tensor(np.clip(flat + step, -0.7, 0.7) @ axes.T)
        assert (poincare.distance(moved, true) >= at - 1e-9).all()


def test_neighbours_kept(points):
    apart = pairwise(points)
    assert np.array_equal(apart, apart.T)
    assert neighbours_kept(apart, apart, 5) == 1
    assert neighbours_kept(2 * apart + 1, apart, 5) == 1
    assert neighbours_kept(-apart, apart, 5) < 0.3
    assert neighbours_kept(np.zeros_like(apart), np.zeros_like(apart), 5) == 1
    with pytest.raises(EpsvaeError, match="k: expected 1 to 39 neighbours, found 40"):
        neighbours_kept(apart, apart, 40)
