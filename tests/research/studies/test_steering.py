"""The table of steered points: complete, resumable, and true when its networks run again."""

import pandas as pd
import pytest
import torch

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES, Architecture, init_state
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.release import Release
from epsvae.subjects.ternary.map.weights_out import WeightDecoderConfig
from epsvae.subjects.ternary.uses import realise
from epsvae.subjects.ternary.uses.steer import Steering
from research.studies import steering

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)
QUICK = Steering(steps=2, n_operations=32)


class SmallRelease(Release):
    """What the study reads of a release: six training checkpoints of two runs, two on the front."""

    def __init__(self, decoder: bool = True) -> None:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            weight_decoder = WeightDecoderConfig(hidden=16, rank=3) if decoder else None
            config = MapConfig(
                latent_dim=12, n_probes=6, architecture=SMALL, weight_decoder=weight_decoder
            )
            model = EpsilonVAE(config).requires_grad_(False)
        keys = pd.DataFrame({"run": ["a"] * 3 + ["b"] * 3, "epoch": [1.0, 2.0, 3.0] * 2})
        self.__dict__ |= {"model": model, "keys": keys}  # a release is frozen
        if model.weight_decoder is not None:
            state = init_state(SMALL, torch.Generator().manual_seed(0))
            state[MAX_RADIUS] = torch.tensor([0.9])
            model.weight_decoder.reference.copy_(all_layout(SMALL).flatten(state))

    def map(self, library: str) -> EpsilonVAE:
        return self.model

    def rows(self, library: str, split: str) -> pd.DataFrame:
        metrics = {
            "coverage": [0.1, 0.9, 0.5, 0.2, 0.3, 0.4],
            "distance_correlation": [0.5, 0.3, 0.2, 0.8, 0.1, 0.1],
        }
        return self.keys.assign(**metrics)

    def latents(self, library: str) -> pd.DataFrame:
        z = torch.randn(6, 12, generator=torch.Generator().manual_seed(1)).numpy()
        return self.keys.assign(split="train").join(pd.DataFrame(z).add_prefix("z"))


@pytest.fixture
def small(monkeypatch):
    for name in ("FRONT_WEIGHTS", "WANTED_COVERAGES", "REACHES", "WEIGHT_RATES"):
        monkeypatch.setattr(steering, name, getattr(steering, name)[:1])
    release = SmallRelease()
    monkeypatch.setattr(steering, "open_release", lambda _: release)
    return release


def test_starts_are_the_front_by_coverage(small):
    starts = steering.front_starts(small)
    assert list(zip(starts["run"], starts["epoch"], strict=True)) == [("b", 1.0), ("a", 2.0)]


def test_the_table_holds_what_runs_and_resumes(small, tmp_path, monkeypatch):
    table = steering.steering_table(tmp_path, tmp_path / "cache", QUICK)
    assert table["kind"].tolist() == ["front"] * 2 + ["target"] * 2 + ["weights"] * 2
    steered = table[table["kind"] != "weights"]
    z = torch.from_numpy(steered.filter(regex=r"^z\d").to_numpy("f4", copy=True))
    again = realise(small.model, z).metrics.numpy()
    assert abs(again - steered[list(METRIC_NAMES)].to_numpy()).max() < 1e-5

    def never(*_):
        raise AssertionError("climbed again")

    for name in ("steer", "train_weights"):
        monkeypatch.setattr(steering, name, never)
    resumed = steering.steering_table(tmp_path, tmp_path / "cache", QUICK)
    pd.testing.assert_frame_equal(resumed, table)


def test_trained_weights_move_only_what_the_decoder_moves(small):
    z = torch.randn(2, 12, generator=torch.Generator().manual_seed(2))
    goal = steering.toward_front(0.1)
    weights = steering.train_weights(small.model, z, goal, QUICK, 1e-2)
    moved = weights - small.model.decode_weights(z)
    where = all_layout(SMALL).slices
    assert moved[:, where["encoder_A.fc_mu.weight"]].abs().max() > 1e-3
    for name in ("decoder_A.decoder.0.weight", "encoder_B.fc_mu.weight"):
        assert moved[:, where[name]].abs().max() == 0


def test_a_map_without_a_weight_decoder_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(steering, "open_release", lambda _: SmallRelease(decoder=False))
    with pytest.raises(EpsvaeError, match="weight decoder"):
        steering.steering_table(tmp_path, tmp_path / "cache")
