import pandas as pd
import pytest
import torch

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import Architecture, init_state
from epsvae.subjects.ternary.library import Checkpoint, save_checkpoint, sha256_of
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.map.files import save_map
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.weights_out import WeightDecoderConfig
from research.studies import paths

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)
RUNS = {"f1": "frozen", "f2": "frozen", "u1": "unfrozen"}


@pytest.fixture(scope="module")
def model():
    weight_decoder = WeightDecoderConfig(hidden=8, rank=2)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = MapConfig(
            latent_dim=12, n_probes=6, architecture=SMALL, weight_decoder=weight_decoder
        )
        model = EpsilonVAE(config)
    state = init_state(SMALL, torch.Generator().manual_seed(0))
    state[MAX_RADIUS] = torch.tensor([0.9])
    model.weight_decoder.reference.copy_(all_layout(SMALL).flatten(state))
    return model.eval()


@pytest.fixture
def artifacts(model, tmp_path, monkeypatch):
    """A library of three runs of two checkpoints each, known under both names, and its maps."""
    rows = []
    for seed, (run, regime) in enumerate(RUNS.items()):
        for epoch in (1.0, 2.0):
            state = init_state(SMALL, torch.Generator().manual_seed(2 * seed + int(epoch)))
            file = tmp_path / "library" / f"{run}-{epoch}.safetensors"
            save_checkpoint(file, Checkpoint(state, SMALL, epoch=epoch))
            rows.append((run, regime, epoch, file.name, sha256_of(file)))
    index = pd.DataFrame(rows, columns=["run", "regime", "epoch", "file", "sha256"])
    parts = [index.assign(library=name, split="test") for name in paths.LIBRARIES]
    monkeypatch.setattr(paths, "read_index", lambda _: pd.concat(parts, ignore_index=True))
    monkeypatch.setattr(paths, "SHARES", (0.0, 0.5, 1.0))
    for name in paths.LIBRARIES:
        save_map(model, tmp_path / "release" / name / "map.pt")
    return tmp_path


def test_every_pair_is_walked_once(artifacts, monkeypatch):
    ask = artifacts, artifacts / "release", artifacts / "cache"
    table = paths.path_table(*ask)
    assert list(table.columns) == list(paths.PATH_COLUMNS)
    keys = table[["library", "run_a", "run_b"]].drop_duplicates()
    assert keys["run_a"].to_list() == ["f1", "f2"] * 2
    assert set(keys["run_b"]) == {"u1"}
    assert table.groupby(["library", "run_a", "way"]).size().eq(3).all()

    def never(*_):
        raise AssertionError("walked again")

    monkeypatch.setattr(paths, "_walk", never)
    assert paths.path_table(*ask).equals(table)


def test_pairs_join_last_checkpoints():
    rows = [("a", "frozen", 1.0), ("a", "frozen", 2.0), ("b", "unfrozen", 3.0)]
    index = pd.DataFrame(rows, columns=["run", "regime", "epoch"])
    index = index.assign(library="small", split="test")
    ((first, second),) = paths.pairs(index, "small")
    assert (first["epoch"], second["epoch"]) == (2.0, 3.0)
    with pytest.raises(LibraryError, match="expected frozen and unfrozen test runs"):
        paths.pairs(index[index["regime"] == "frozen"], "small")
