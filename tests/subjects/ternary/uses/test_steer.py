"""Steering: what it promises is what the decoded networks do, within the density."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from epsvae.errors import CheckpointError, EpsvaeError
from epsvae.subjects.ternary import PUBLISHED, Architecture, init_state, operation_trits
from epsvae.subjects.ternary.library.files import load_checkpoint, save_checkpoint
from epsvae.subjects.ternary.library.layout import all_layout
from epsvae.subjects.ternary.map import open_release
from epsvae.subjects.ternary.map.calibration import FILE, load_calibration
from epsvae.subjects.ternary.map.look import TernaryMap
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.uses import realise, virtual_checkpoint
from epsvae.subjects.ternary.uses.goals import Run, at_least, toward_front
from epsvae.subjects.ternary.uses.steer import Steering, descend, hills, run_on, steer, steer_files
from epsvae.uses.density import fit_density

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)
QUICK = Steering(steps=25, n_operations=128)
N = 4
RELEASE = Path(__file__).resolve().parents[4] / "data" / "reference"


@pytest.fixture(scope="module")
def model(small_map):
    return small_map(0.1)


@pytest.fixture(scope="module")
def known():
    return torch.randn(60, 12, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def density(known):
    return fit_density(known)


def climb(model, start, density, goal, steering=QUICK):
    return steer(model, start, goal, density, torch.Generator().manual_seed(2), steering)


def test_the_networks_that_run_are_better(model, known, density):
    found = climb(model, known[:N], density, at_least({}))
    before, after = (realise(model, z[:2], n_jobs=1).metrics[:, 1] for z in (known, found))
    assert (after > before + 0.02).all()


def test_reconstruction_counts_by_its_weight(model, known, density):
    weight = torch.tensor([0.0, 100.0]).repeat(N)
    start = known[:N].repeat_interleave(2, 0)
    found = climb(model, start, density, toward_front(weight))
    index = torch.arange(0, 19_683, 40)
    with torch.no_grad():
        run = run_on(model.weight_decoder.state(found), SMALL, index)
        loss = toward_front(1000.0)(run).view(N, 2)
    assert (loss[:, 1] < loss[:, 0]).all()


@pytest.mark.parametrize("reach", [None, 0.5])
def test_a_climb_stays_in_the_hill_it_started_on(model, known, density, reach):
    found = climb(model, known[:N], density, at_least({}), replace(QUICK, reach=reach, lr=2.0))
    step = torch.linalg.solve_triangular(
        density.factors[:N], (found - known[:N]).double().unsqueeze(-1), upper=False
    )
    limit = reach or 12**0.5
    assert (step.squeeze(-1).norm(dim=-1) <= limit * (1 + 1e-3)).all()
    assert (step.squeeze(-1).norm(dim=-1) > 0.5 * limit).all()


def test_points_do_not_disturb_each_other_and_repeat(model, known, density):
    goal = at_least({"coverage": 0.1})
    together = climb(model, known[:N], density, goal, replace(QUICK, steps=3))
    alone = climb(model, known[1:2], density, goal, replace(QUICK, steps=3))
    torch.testing.assert_close(together[1:2], alone, atol=1e-3, rtol=0)
    again = climb(model, known[:N], density, goal, replace(QUICK, steps=3))
    torch.testing.assert_close(together, again, atol=0, rtol=0)
    assert known.isfinite().all() and not together.requires_grad


def test_what_is_wanted_counts_until_it_is_reached():
    index = torch.arange(64)
    trits = operation_trits(index).long() + 1
    logits = torch.nn.functional.one_hot(trits, 3).float()[None].repeat(2, 1, 1, 1) * 10
    logits[1, :32] = logits[1, :32].flip(-1)
    points = torch.randn(2, 64, 4, generator=torch.Generator().manual_seed(0)) * 0.1
    run = Run(points, logits, index)
    plain = at_least({})(run)
    torch.testing.assert_close(at_least({"coverage": 0.3})(run), plain)
    short = at_least({"coverage": 0.95})(run) - plain
    assert short[0] == pytest.approx(0, abs=1e-5)
    assert short[1] > 5
    upside_down = at_least({"radial_hierarchy": 1.0})(run)
    torch.testing.assert_close(upside_down, plain)
    assert (at_least({"radial_hierarchy": -1.0})(run) > plain).all()


def test_an_unknown_metric_is_refused():
    with pytest.raises(EpsvaeError, match="accuracy"):
        at_least({"accuracy": 0.9})


def test_descend_trains_weights_as_well(model, known):
    layout = all_layout(SMALL)
    state = layout.unflatten(model.decode_weights(known[:N]))
    name = "encoder_A.fc_mu.weight"
    free = state[name].clone().requires_grad_(True)
    index = torch.arange(0, 19_683, 40)
    goal = at_least({})
    before = goal(run_on(state, SMALL, index))
    descend(
        [free],
        lambda: state | {name: free},
        goal,
        SMALL,
        torch.Generator().manual_seed(0),
        replace(QUICK, steps=100, lr=0.02),
    )
    after = goal(run_on(state | {name: free.detach()}, SMALL, index))
    assert (after < before).all()


def test_where_the_map_does_not_reach(model, known, density):
    with pytest.raises(EpsvaeError, match=r"rows \[1\]"):
        hills(torch.stack([known[0], known[0] + 1000]), density)
    with pytest.raises(EpsvaeError, match="finite"):
        climb(model, known[:1] * torch.nan, density, at_least({}))
    plain = EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, architecture=SMALL))
    with pytest.raises(EpsvaeError, match="weight decoder"):
        climb(plain, known[:1], density, at_least({}))


def test_files_of_others_become_virtual_checkpoints(model, known, tmp_path):
    files = []
    for row in range(3):
        files.append(tmp_path / f"{row}.safetensors")
        save_checkpoint(files[-1], virtual_checkpoint(model, known[row]))
    z = torch.stack([model.encode(model.decode_weights(known[row])) for row in range(40)])
    generator = torch.Generator().manual_seed(0)
    found = steer_files(TernaryMap(model), files, at_least({}), fit_density(z), generator, QUICK)
    assert [x.provenance["source"] for x in found] == [str(file) for file in files]
    assert all(x.provenance["virtual"] for x in found)
    missing = [tmp_path / "missing.safetensors"]
    with pytest.raises(CheckpointError, match="missing"):
        steer_files(TernaryMap(model), missing, at_least({}), fit_density(z), generator, QUICK)


def test_files_off_the_map_are_refused(tmp_path):
    release = open_release(RELEASE)
    calibration = load_calibration(release.folder / "aligned" / FILE)
    checkpoint = load_checkpoint(release.checkpoint_files()[0])
    odd = replace(checkpoint, state=init_state(PUBLISHED, torch.Generator().manual_seed(0)))
    save_checkpoint(tmp_path / "odd.safetensors", odd)
    latents = release.latents("aligned").filter(regex=r"^z\d")[:50].to_numpy("f4", copy=True)
    density = fit_density(torch.from_numpy(latents))
    files, generator = [tmp_path / "odd.safetensors"], torch.Generator()
    goal, model = at_least({}), release.map()
    with pytest.raises(EpsvaeError, match="odd.safetensors: expected a checkpoint on the map"):
        steer_files(TernaryMap(model, calibration), files, goal, density, generator, QUICK)
