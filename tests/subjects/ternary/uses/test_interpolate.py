from dataclasses import replace

import numpy as np
import pytest
import torch

from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.map.calibrated import look_on_map
from epsvae.map.novelty import Scale, fit_distance
from epsvae.subjects.ternary import METRIC_NAMES, Architecture, evaluate, init_state
from epsvae.subjects.ternary.library import Checkpoint, extract_key_weights, save_checkpoint
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.map.calibration import Calibration
from epsvae.subjects.ternary.map.fingerprint import checkpoint_fingerprint
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.offmap import OffMap
from epsvae.subjects.ternary.uses import (
    add_noise,
    interpolate_checkpoints,
    interpolate_files,
    nearest_checkpoints,
)
from epsvae.subjects.ternary.uses.interpolate import COLUMNS, WAYS, last_checkpoint

pytestmark = pytest.mark.numbers

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)


def checkpoint(seed, epoch=None, architecture=SMALL):
    state = init_state(architecture, torch.Generator().manual_seed(seed))
    return Checkpoint(state, architecture, max_radius=0.9, epoch=epoch)


@pytest.fixture(scope="module")
def model(small_map):
    return small_map()


@pytest.fixture(scope="module")
def path(model):
    return interpolate_checkpoints(model, checkpoint(1), checkpoint(2), shares=(0.0, 0.5, 1.0))


def metrics(frame, way, share):
    row = frame[(frame["way"] == way) & (frame["share"] == share)]
    return row[list(METRIC_NAMES)].to_numpy()[0]


def test_every_way_and_share_has_a_row(path):
    assert list(path.columns) == list(COLUMNS)
    assert [*path.groupby("way", sort=False).size()] == [3] * len(WAYS)
    assert list(path["way"].unique()) == list(WAYS)
    assert path.notna().all(axis=None)


@pytest.mark.parametrize("way", ["linear", "spherical", "matched"])
def test_averages_end_at_the_checkpoints(path, way):
    for share, seed in ((0.0, 1), (1.0, 2)):
        end = checkpoint(seed)
        true = evaluate(end.state, SMALL, end.max_radius).vector()
        assert metrics(path, way, share) == pytest.approx(true, abs=2e-3)


def test_the_prediction_is_the_maps(model, path):
    z = [model.encode(extract_key_weights(checkpoint(seed), "all")) for seed in (1, 2)]
    middle = model.predict_metrics((z[0] + z[1]) / 2).numpy()
    assert metrics(path, "predicted", 0.5) == pytest.approx(middle, abs=1e-5)


@pytest.mark.parametrize("shares", [(), (-0.1,), (0.5, 1.5), (float("nan"),)])
def test_shares_are_between_the_ends(model, shares):
    with pytest.raises(EpsvaeError, match="expected numbers from 0 to 1"):
        interpolate_checkpoints(model, checkpoint(1), checkpoint(2), shares=shares)


def test_another_architecture_is_refused(model):
    other = checkpoint(0, architecture=replace(SMALL, projection_hidden=10))
    with pytest.raises(CheckpointError, match="expected the map's architecture"):
        interpolate_checkpoints(model, checkpoint(1), other)


def test_a_map_without_a_weight_decoder_is_refused():
    plain = EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, architecture=SMALL))
    with pytest.raises(EpsvaeError, match="expected a map with a weight decoder"):
        interpolate_checkpoints(plain, checkpoint(1), checkpoint(2))


def test_files_and_folders(model, tmp_path, path):
    """A folder stands for its latest epoch, whatever the names say."""
    save_checkpoint(tmp_path / "a" / "epoch_9.safetensors", checkpoint(5, epoch=9.0))
    save_checkpoint(tmp_path / "a" / "epoch_10.safetensors", checkpoint(1, epoch=10.0))
    save_checkpoint(tmp_path / "b.safetensors", checkpoint(2))
    found = interpolate_files(
        TernaryMap(model), tmp_path / "a", tmp_path / "b.safetensors", (0.0, 0.5, 1.0)
    )
    assert found.equals(path)
    assert last_checkpoint(tmp_path / "a").epoch == 10


def test_without_epochs_the_last_name_counts(tmp_path):
    for name, seed in (("x", 1), ("y", 2)):
        save_checkpoint(tmp_path / f"{name}.safetensors", checkpoint(seed))
    assert last_checkpoint(tmp_path).path.name == "y.safetensors"


def test_an_empty_folder_is_refused(model, tmp_path):
    with pytest.raises(CheckpointError, match="expected checkpoint files in the folder"):
        interpolate_files(TernaryMap(model), tmp_path, tmp_path)


def test_off_the_map_is_refused(model, tmp_path):
    """A calibration from near copies of one network knows no other network."""
    generator = torch.Generator().manual_seed(0)
    vectors = extract_key_weights(checkpoint(1), "all").expand(12, -1)
    near = add_noise(vectors, SMALL, 1e-3, generator)
    states = [all_layout(SMALL).unflatten(w) for w in near]
    for state in states:
        state.pop(MAX_RADIUS)
    prints = [checkpoint_fingerprint(model, Checkpoint(s, SMALL, max_radius=0.9)) for s in states]
    distances = {n: fit_distance(torch.cat([p[n] for p in prints])) for n in prints[0]}
    offmap = OffMap(distances, dict.fromkeys(distances, Scale(1.0, 3.0)), (1.0, 1.0))
    z = model.encode(near).numpy()
    calibration = Calibration(z, np.zeros((12, 3)), np.zeros(3), offmap)
    look_on_map(TernaryMap(model, calibration), checkpoint(1))
    with pytest.raises(CheckpointError, match="expected a checkpoint on the map"):
        look_on_map(TernaryMap(model, calibration), checkpoint(2))
    save_checkpoint(tmp_path / "far.safetensors", checkpoint(2))
    with pytest.raises(CheckpointError, match=r"far.*: expected a checkpoint on the map"):
        interpolate_files(TernaryMap(model, calibration), *[tmp_path / "far.safetensors"] * 2)


def test_the_nearest_known_checkpoint_stands_in():
    known = torch.tensor([[0.0, 0.0], [1.0, 0.0], [9.0, 9.0]])
    measured = np.array([[0.1, 0.2, -0.3], [0.4, 0.5, -0.6], [0.7, 0.8, -0.9]])
    ends = torch.tensor([[0.0, 0.1], [1.0, 0.1]])
    found = nearest_checkpoints(ends, known, measured, (0.0, 0.4, 0.6))
    assert found["coverage"].to_list() == [0.1, 0.1, 0.4]
    assert set(found["way"]) == {"nearest"}
    with pytest.raises(EpsvaeError, match="known: expected at least 1"):
        nearest_checkpoints(ends, known[:0], measured[:0])
