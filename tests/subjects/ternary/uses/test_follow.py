"""Following a folder of foreign files: every refusal by name, every number from the map."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES, Architecture, TernaryVAE
from epsvae.subjects.ternary.library.files import load_checkpoint, save_checkpoint
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.subjects.ternary.map.release import open_release
from epsvae.uses.follow import follow
from epsvae.uses.stagnation import StagnationRule

RELEASE = open_release(Path(__file__).resolve().parents[4] / "data" / "reference")
FILES = RELEASE.checkpoint_files("aligned-055")


@pytest.fixture
def folder(tmp_path):
    """Four checkpoints of a run as we write them, and two of another in published files."""
    for file in FILES[:4]:
        target = tmp_path / "first" / file.name
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, target)
    (tmp_path / "second").mkdir()
    for name, file in zip(("epoch_10.pt", "epoch_9.pt"), FILES[:2], strict=True):
        state = {"model_state_dict": load_checkpoint(file).state}
        torch.save(state, tmp_path / "second" / name)
    return tmp_path


def test_runs_are_followed(folder, model):
    found = follow(folder, TernaryMap(model))
    assert [(path.run, len(path)) for path in found.paths] == [("first", 4), ("second", 2)]
    assert found.refused == []
    assert "alarm" not in found.table
    first = found.table[found.table["run"] == "first"]
    assert first["epoch"].tolist() == [2, 4, 6, 8]
    with torch.no_grad():
        z = torch.stack([model.encode(load_checkpoint(file)) for file in FILES[:4]])
        metrics = model.predict_metrics(z).numpy()
    np.testing.assert_allclose(found.paths[0].z, z.numpy(), atol=1e-5)
    np.testing.assert_allclose(first[list(METRIC_NAMES)], metrics, atol=1e-5)
    np.testing.assert_allclose(first["step"][1:], z.diff(dim=0).norm(dim=1).numpy(), rtol=1e-4)
    np.testing.assert_allclose(first["speed"][1:], first["step"][1:] / 2)
    assert first["turning"].notna().tolist() == [False, True, True, False]
    assert first["pace"].notna().tolist() == [False, False, True, True]


def test_names_tell_an_epoch_where_files_do_not(folder, model):
    second = follow(folder, TernaryMap(model)).table.query("run == 'second'")
    assert second["epoch"].tolist() == [9, 10]
    (folder / "second" / "epoch_9.pt").rename(folder / "second" / "best.pt")
    found = follow(folder, TernaryMap(model))
    assert len(found.refused) == 1
    assert "best.pt: expected an epoch in the file or in its name" in found.refused[0]


def test_the_rule_adds_an_alarm(folder, model):
    always, never = (
        follow(folder, TernaryMap(model), rule=StagnationRule(pace, 9.0)).table["alarm"]
        for pace in (1e9, 0.0)
    )
    assert always.tolist() == [False, False, True, True, False, False]
    assert not never.any()


def test_a_copy_of_a_checkpoint_is_refused(folder, model):
    shutil.copyfile(FILES[1], folder / "first" / "latest.safetensors")
    found = follow(folder, TernaryMap(model))
    assert len(found.table) == 6
    assert len(found.refused) == 1
    assert "expected one checkpoint an epoch, found epoch 4 in" in found.refused[0]


def test_equal_checkpoints_at_two_epochs_are_steps_of_length_0(tmp_path, model):
    checkpoint = load_checkpoint(FILES[0])
    for epoch in (1.0, 6.0, 11.0):
        save_checkpoint(tmp_path / f"{epoch}.safetensors", replace(checkpoint, epoch=epoch))
    found = follow(tmp_path, TernaryMap(model), rule=StagnationRule(0.1))
    assert found.paths[0].length == 0
    assert found.paths[0].run == tmp_path.name
    assert found.table["turning"].isna().all()
    assert found.table["gain"][1:].tolist() == [0, 0]
    assert found.table["alarm"].tolist() == [False, True, True]


def test_one_checkpoint_is_a_path(tmp_path, model):
    shutil.copyfile(FILES[0], tmp_path / "a.safetensors")
    found = follow(tmp_path, TernaryMap(model), rule=StagnationRule(0.5))
    assert found.paths[0].length == 0
    assert found.table[["step", "speed", "turning", "pace", "gain"]].isna().all(axis=None)
    assert found.table["alarm"].tolist() == [False]


def test_what_the_map_does_not_reach_is_refused(folder, model, calibration):
    (folder / "first" / "broken.pt").write_bytes(b"nothing")
    checkpoint = load_checkpoint(FILES[0])
    generator = torch.Generator().manual_seed(0)
    fresh = {n: p.detach() for n, p in TernaryVAE(generator=generator).named_parameters()}
    random = replace(checkpoint, state=fresh, epoch=30.0)
    save_checkpoint(folder / "first" / "random.safetensors", random)
    narrow = Architecture(latent_dim=8)
    other = {n: p.detach() for n, p in TernaryVAE(narrow).named_parameters()}
    narrow_checkpoint = replace(checkpoint, state=other, architecture=narrow, epoch=31.0)
    save_checkpoint(folder / "first" / "small.safetensors", narrow_checkpoint)
    found = follow(folder, TernaryMap(model, calibration))
    assert len(found.table.query("run == 'first'")) == 4
    reasons = {Path(reason.split(": ")[0]).name: reason for reason in found.refused}
    assert "expected embeddings of dimension 16, found 8" in reasons["small.safetensors"]
    assert "found an off-map score of" in reasons["random.safetensors"]
    assert "broken.pt" in reasons


def test_nothing_to_follow(tmp_path, model):
    with pytest.raises(EpsvaeError, match="expected checkpoint files in the folder, found none"):
        follow(tmp_path, TernaryMap(model))
    with pytest.raises(EpsvaeError, match="expected a folder of checkpoints, found none"):
        follow(tmp_path / "nowhere", TernaryMap(model))
    (tmp_path / "a.pt").write_bytes(b"nothing")
    with pytest.raises(EpsvaeError, match=r"expected a checkpoint that the map reads, found none"):
        follow(tmp_path, TernaryMap(model))


def test_hidden_and_unreadable_files(tmp_path, model):
    shutil.copyfile(FILES[0], tmp_path / "a.safetensors")
    shutil.copyfile(FILES[0], tmp_path / ".partial.safetensors")
    os.symlink(tmp_path / "gone", tmp_path / "dangling.pt")
    assert len(follow(tmp_path, TernaryMap(model)).table) == 1
