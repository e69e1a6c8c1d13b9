"""State dicts in and out, and the folders that hold them."""

import pickle

import pytest
import torch

from epsvae.checkpoints import find_checkpoints, read_state, write_state
from epsvae.errors import CheckpointError

STATE = {"a.weight": torch.arange(6.0).view(2, 3), "a.count": torch.tensor(3)}


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "run" / "step-000120.safetensors"
    write_state(path, STATE, 120, {"accuracy": 0.91})
    found = read_state(path)
    assert found.step == 120
    assert found.metrics == {"accuracy": 0.91}
    assert found.run == str(tmp_path / "run")
    assert all(torch.equal(found.state[name], tensor) for name, tensor in STATE.items())
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict", "model_state", "model", None])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".ckpt", ".bin"])
def test_a_state_is_found_wherever_trainers_put_it(tmp_path, key, suffix):
    path = tmp_path / f"epoch7{suffix}"
    torch.save({key: STATE, "epoch": 7} if key else STATE, path)
    found = read_state(path)
    assert set(found.state) == set(STATE)
    assert found.step == 7
    assert found.metrics is None


class Bomb:
    def __reduce__(self):
        return (print, ("boom",))


def damaged(folder):
    write_state(folder / "whole.safetensors", STATE)
    whole = (folder / "whole.safetensors").read_bytes()
    (folder / "cut.safetensors").write_bytes(whole[:-4])
    (folder / "empty.safetensors").write_bytes(b"")
    (folder / "empty.pt").write_bytes(b"")
    (folder / "text.pt").write_text("not a checkpoint")
    (folder / "hostile.pt").write_bytes(pickle.dumps({"state_dict": Bomb()}))
    torch.save({"a": torch.tensor([1.0, float("nan")])}, folder / "nan.pt")
    torch.save({"model": {"a": 3}}, folder / "number.pt")
    (folder / "weights.h5").write_bytes(whole)
    (folder / "folder.pt").mkdir()


@pytest.mark.parametrize(
    "name",
    ["cut.safetensors", "empty.safetensors", "empty.pt", "text.pt", "hostile.pt", "nan.pt"]
    + ["number.pt", "weights.h5", "folder.pt", "nowhere.pt"],
)
def test_what_is_no_checkpoint_is_refused_by_name(tmp_path, capsys, name):
    damaged(tmp_path)
    with pytest.raises(CheckpointError, match=name) as caught:
        read_state(tmp_path / name)
    assert "expected" in str(caught.value) and "found" in str(caught.value)
    assert "boom" not in capsys.readouterr().out


def test_nothing_is_left_of_a_file_that_cannot_be_written(tmp_path):
    with pytest.raises(CheckpointError, match="NaN"):
        write_state(tmp_path / "bad.safetensors", {"a": torch.tensor([float("inf")])})
    assert not list(tmp_path.iterdir())


def test_checkpoints_are_listed_by_run_and_step(tmp_path):
    for run, step in (("b", 2), ("a", 10), ("a", 9)):
        write_state(tmp_path / run / f"step-{step}.safetensors", STATE)
    table = find_checkpoints(tmp_path)
    assert table["step"].tolist() == [9, 10, 2]
    assert [run.rpartition("/")[2] for run in table["run"]] == ["a", "a", "b"]
    with pytest.raises(CheckpointError, match="nowhere"):
        find_checkpoints(tmp_path / "nowhere")
