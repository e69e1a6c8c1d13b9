"""The off-map score: blind to what changes no function, awake to what is not of the library."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from epsvae.map.novelty import NARROWEST, Scale, fit_distance
from epsvae.subjects.ternary import PUBLISHED, Architecture, evaluate, init_state
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.map.data import all_weights
from epsvae.subjects.ternary.map.fingerprint import READINGS, checkpoint_fingerprint, fingerprint
from epsvae.subjects.ternary.map.fit_offmap import fit_offmap, vectors_fingerprint
from research.trust.damage import (
    DAMAGES,
    Damage,
    break_checkpoints,
    read_matrices,
    unread_matrices,
)

pytestmark = pytest.mark.numbers


@pytest.fixture(scope="module")
def checkpoints(release):
    """Real checkpoints, one of each carried run."""
    return [load_checkpoint(file) for file in release.checkpoint_files()[3::11]]


@pytest.fixture(scope="module")
def small_offmap(trained_map, trained):
    return fit_offmap(trained_map, trained)


class TestFingerprint:
    @pytest.mark.parametrize("symmetry", ["permute", "rescale"])
    def test_symmetries_leave_every_block(self, model, checkpoints, request, symmetry):
        change = request.getfixturevalue(symmetry)
        for checkpoint in checkpoints:
            moved = replace(checkpoint, state=change(checkpoint.state, checkpoint.architecture))
            a, b = (checkpoint_fingerprint(model, c) for c in (checkpoint, moved))
            for name, block in a.items():
                torch.testing.assert_close(block, b[name], atol=2e-5, rtol=0, msg=name)

    @pytest.mark.parametrize("name", [*read_matrices(PUBLISHED), *unread_matrices(PUBLISHED)])
    def test_every_matrix_is_in_it(self, model, checkpoints, name):
        state = checkpoints[0].state
        broken = replace(checkpoints[0], state=state | {name: 1.5 * state[name]})
        a, b = (checkpoint_fingerprint(model, c) for c in (checkpoints[0], broken))
        moved = {block for block in a if (a[block] - b[block]).abs().max() > 1e-3}
        assert moved & set(READINGS) or name in unread_matrices(PUBLISHED)
        assert moved - set(READINGS)

    def test_rows_are_the_checkpoints(self, trained_map, trained):
        vectors = all_weights(trained.test)
        together = vectors_fingerprint(trained_map, vectors, trained.test)
        alone = vectors_fingerprint(trained_map, vectors[3:4], trained.test)
        for name, block in together.items():
            torch.testing.assert_close(block[3:4], alone[name], atol=1e-4, rtol=1e-4, msg=name)

    def test_other_architectures_have_one(self, model):
        other = Architecture(encoder_widths=(32, 16), projection_layers=2, shared_projection=True)
        state = init_state(other, torch.Generator().manual_seed(0))
        found = {name: value[None] for name, value in state.items()}
        seen = model.sweep(found, other, torch.tensor([0.95]))
        blocks = fingerprint(seen, found, other)
        assert set(READINGS) < set(blocks)
        assert all(block.isfinite().all() for block in blocks.values())


class TestDistance:
    def test_it_is_one_on_average_where_it_was_fitted(self):
        x = torch.randn(4000, 12, generator=torch.Generator().manual_seed(0)) @ torch.randn(
            12, 12, generator=torch.Generator().manual_seed(1)
        )
        distance = fit_distance(x)
        assert distance(x).square().mean().item() == pytest.approx(1, abs=0.2)
        assert distance(x.mean(0, keepdim=True)).item() == pytest.approx(0, abs=1e-3)

    def test_constant_features_do_not_divide_by_zero(self):
        x = torch.ones(20, 5)
        distance = fit_distance(x)
        assert distance(x).max() < 1e-3
        assert distance(x + 1).min() > 10

    def test_more_features_than_rows(self):
        x = torch.randn(10, 200, generator=torch.Generator().manual_seed(0))
        far = fit_distance(x)(10 * torch.ones(1, 200))
        assert far.isfinite().all()
        assert far.item() > fit_distance(x)(x).max()


class TestScale:
    def test_typical_is_zero_and_rare_is_one(self):
        scale = Scale(1.0, 2.0)
        found = scale(torch.tensor([0.0, 1.0, 2.0, 20.0, torch.nan]))
        assert found[:3].tolist() == pytest.approx([0, 0, 1], abs=1e-6)
        assert found[3] > 3
        assert found[4] == torch.inf

    def test_a_narrow_block_is_widened(self):
        assert Scale(1.0, 1.001)(torch.tensor([1.1])).item() < 1 / NARROWEST


class TestOffMap:
    def test_held_out_runs_are_mostly_on_the_map(self, small_offmap, trained_map, trained):
        novelty = small_offmap(
            vectors_fingerprint(trained_map, all_weights(trained.test), trained.test)
        )
        assert np.mean(novelty.flagged) <= 0.25

    def test_networks_that_were_never_trained_are_off(self, small_offmap, trained_map, trained):
        split, generator = trained.test, torch.Generator().manual_seed(0)
        state = init_state(split.architecture, generator) | {"max_radius": torch.tensor([0.95])}
        vector = split.layout.flatten(state)[None]
        novelty = small_offmap(vectors_fingerprint(trained_map, vector, split))
        assert novelty.flagged == [True]
        assert novelty.reading.score.item() > 1
        assert novelty.weights.score.item() > 1

    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.kind)
    def test_damage_raises_the_score(self, small_offmap, trained_map, trained, damage):
        split, rng = trained.test, np.random.default_rng(0)
        whole = all_weights(split)
        layers = read_matrices(split.architecture)
        broken, _ = break_checkpoints(whole, split.architecture, damage, layers, rng)
        a, b = (small_offmap(vectors_fingerprint(trained_map, v, split)) for v in (whole, broken))
        assert (b.score > a.score).float().mean() >= 0.8
        assert np.mean(b.flagged) > np.mean(a.flagged)

    def test_unread_layers_leave_readings_and_behaviour(self, small_offmap, trained_map, trained):
        """What changes no behaviour is seen by the weights' part alone, and predictions stay."""
        split, rng = trained.test, np.random.default_rng(0)
        whole, layers = all_weights(split), unread_matrices(split.architecture)
        damage = Damage("zeroed", 1.0)
        broken, _ = break_checkpoints(whole, split.architecture, damage, layers, rng)
        a, b = (small_offmap(vectors_fingerprint(trained_map, v, split)) for v in (whole, broken))
        torch.testing.assert_close(a.reading.score, b.reading.score, atol=1e-5, rtol=0)
        assert (b.weights.score > 1).float().mean() > 0.9
        torch.testing.assert_close(trained_map.encode(whole), trained_map.encode(broken))
        same = [
            evaluate(split.layout.unflatten(v), split.architecture, float(v[-1]))
            for v in (whole[0], broken[0])
        ]
        assert same[0] == same[1]

    def test_corrupt_giants_are_off_the_map_not_an_error(self, small_offmap, trained_map, trained):
        for name in trained.test.layout.names[:-1]:
            vector = all_weights(trained.test, slice(0, 1)).clone()
            vector[0, trained.test.layout.slices[name].start] = 1e38
            assert small_offmap(vectors_fingerprint(trained_map, vector, trained.test)).flagged == [
                True
            ]

    def test_blocks_of_another_size_are_passed_over(self, small_offmap, trained_map, trained):
        found = vectors_fingerprint(trained_map, all_weights(trained.test), trained.test)
        readings = {name: found[name] for name in READINGS}
        novelty = small_offmap(readings)
        assert novelty.weights.score.max() == 0
        assert set(novelty.weights.block) == {""}
        torch.testing.assert_close(novelty.reading.score, small_offmap(found).reading.score)


class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGES, ids=lambda d: d.kind)
    def test_only_the_named_layer_changes(self, trained, damage):
        split = trained.test
        whole, layers = all_weights(split), read_matrices(split.architecture)
        broken, places = break_checkpoints(
            whole, split.architecture, damage, layers, np.random.default_rng(0)
        )
        for row, place in enumerate(places):
            changed = {
                name
                for name, part in split.layout.slices.items()
                if not torch.equal(whole[row, part], broken[row, part])
            }
            assert changed == (set(layers) if place == "all" else {place})

    def test_shuffling_keeps_the_values(self, trained):
        split, damage = trained.test, Damage("shuffled", 1.0)
        whole = all_weights(split)
        broken, _ = break_checkpoints(
            whole,
            split.architecture,
            damage,
            read_matrices(split.architecture),
            np.random.default_rng(0),
        )
        assert torch.equal(whole.sort(1).values, broken.sort(1).values)

    def test_unknown_kinds_are_refused(self, trained):
        with pytest.raises(ValueError, match="kind: expected a known damage, found 'rust'"):
            break_checkpoints(
                all_weights(trained.test),
                trained.test.architecture,
                Damage("rust", 1.0),
                read_matrices(trained.test.architecture),
                np.random.default_rng(0),
            )

    def test_read_and_unread_are_all_encoder_and_projection_matrices(self):
        read, unread = read_matrices(PUBLISHED), unread_matrices(PUBLISHED)
        assert not set(read) & set(unread)
        shapes = PUBLISHED.shapes()
        matrices = {name for name, shape in shapes.items() if len(shape) == 2}
        assert set(read) | set(unread) == matrices
