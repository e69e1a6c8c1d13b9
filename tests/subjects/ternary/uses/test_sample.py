import pytest
import torch

from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.subjects.ternary import Architecture, init_state
from epsvae.subjects.ternary.library import Checkpoint, save_checkpoint
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.uses import (
    discover_in_folder,
    is_promising,
    promises,
    realise,
    region_of,
    reread,
    trials,
)
from epsvae.subjects.ternary.uses.sample import nearest_distance

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)


@pytest.fixture(scope="module")
def model(small_map):
    return small_map(0.1)


@pytest.fixture(scope="module")
def z():
    return torch.randn(5, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def folder(tmp_path):
    for seed in range(4):
        state = init_state(SMALL, torch.Generator().manual_seed(seed))
        save_checkpoint(tmp_path / f"{seed}.safetensors", Checkpoint(state, SMALL))
    return tmp_path


def test_a_region_is_the_seeds():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0)) * 2 + 1
    region = region_of(points)
    drawn = region.sample(4000, torch.Generator().manual_seed(1))
    torch.testing.assert_close(drawn.mean(0), points.mean(0), atol=0.1, rtol=0)
    torch.testing.assert_close(drawn.std(0), 0.5 * points.std(0), atol=0.1, rtol=0)
    with pytest.raises(EpsvaeError, match="expected at least 2 points to span a region, found 1"):
        region_of(points[:1])


def test_promising_needs_both_metrics():
    nan = float("nan")
    metrics = torch.tensor([[0.96, 0.81, 0], [0.95, 0.9, 0], [0.99, 0.8, 0], [nan, 0.9, 0]])
    assert is_promising(metrics).tolist() == [True, False, False, False]
    assert is_promising(metrics, 0.9, 0.75).tolist() == [True, True, True, False]


def test_promises_are_predicted_reread_and_run(model, z):
    found = promises(model, z, known=z[:2] + 1, coverage=-1.0, distance=-1.0)
    assert len(found) == 5
    run = realise(model, z).metrics
    names = [f"realised_{n}" for n in ("coverage", "distance_correlation", "radial_hierarchy")]
    torch.testing.assert_close(torch.tensor(found[names].to_numpy()), run)
    promised = torch.tensor(found["promised_coverage"].to_numpy())
    torch.testing.assert_close(promised, model.predict_metrics(z)[:, 0].double())
    reading, again = torch.tensor(found["reread_coverage"].to_numpy()), reread(model, z)
    torch.testing.assert_close(again, model.encode(model.decode_weights(z)))
    expected = model.predict_metrics(again)[:, 0]
    torch.testing.assert_close(reading, expected.double(), atol=1e-5, rtol=0)
    assert found["passed"].all()
    assert found["kept"].all()
    distance = torch.cdist(again, z[:2] + 1).amin(1).double()
    torch.testing.assert_close(torch.tensor(found["novelty"].to_numpy()), distance)


def test_no_points_give_no_rows(model, z):
    found = promises(model, z[:0], known=z)
    assert len(found) == 0
    assert {"realised_coverage", "kept", "novelty"} < set(found.columns)


def test_a_real_network_is_tried_like_a_decoded_one(model, z):
    found = trials(model, model.decode_weights(z), known=z)
    made = promises(model, z, known=z)
    assert made[list(found.columns)].equals(found)


def test_distance_to_nothing_is_infinite(z):
    assert nearest_distance(z, z[:0]).isinf().all()
    torch.testing.assert_close(nearest_distance(z, z), torch.zeros(5), atol=1e-3, rtol=0)


def test_a_map_without_a_weight_decoder_is_refused(z):
    plain = EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, architecture=SMALL))
    for use in (lambda: reread(plain, z), lambda: promises(plain, z, z)):
        with pytest.raises(EpsvaeError, match="expected a map with a weight decoder"):
            use()


def test_discovery_in_a_folder(model, folder):
    generator = torch.Generator().manual_seed(0)
    z, found = discover_in_folder(
        TernaryMap(model), [folder], 6, generator, coverage=-1.0, distance=-1.0
    )
    assert z.shape == (6, 12)
    assert found["realised_distance_correlation"].is_monotonic_decreasing
    again = promises(model, z, z, coverage=-1.0, distance=-1.0)
    assert again["realised_coverage"].to_list() == pytest.approx(
        found["realised_coverage"].to_list(), abs=1e-3
    )


def test_nothing_promising_gives_no_rows(model, folder):
    z, found = discover_in_folder(TernaryMap(model), [folder], 6, torch.Generator(), coverage=1.1)
    assert z.shape == (0, 12)
    assert found.empty


def test_too_few_and_broken_files_are_refused(model, folder, tmp_path):
    (tmp_path / "one").mkdir()
    with pytest.raises(CheckpointError, match="expected checkpoint files in the folder"):
        discover_in_folder(TernaryMap(model), [tmp_path / "one"], 3, torch.Generator())
    (folder / "0.safetensors").rename(tmp_path / "one" / "0.safetensors")
    with pytest.raises(EpsvaeError, match="expected at least 2 checkpoints"):
        discover_in_folder(TernaryMap(model), [tmp_path / "one"], 3, torch.Generator())
    (folder / "bad.safetensors").write_bytes(b"no")
    with pytest.raises(CheckpointError, match=r"bad\.safetensors"):
        discover_in_folder(TernaryMap(model), [folder], 3, torch.Generator())
