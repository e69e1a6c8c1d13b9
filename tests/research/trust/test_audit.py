"""The invariance audit: the default map does not move, a flat one does."""

import pytest
import torch

from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE
from research.trust.audit import COLUMNS, SYMMETRIES, audit_table

pytestmark = pytest.mark.numbers


@pytest.fixture(scope="module")
def table(release):
    """Real checkpoints of every carried run; the flat map is a narrow, untrained seed model."""
    torch.manual_seed(0)
    flat = SeedVAE(SeedConfig(hidden=(32, 16))).eval().requires_grad_(False)
    checkpoints = [load_checkpoint(file) for file in release.checkpoint_files()[2::11]]
    return audit_table({"default": release.map("aligned"), "flat": flat}, checkpoints)


def test_a_row_for_each_map_symmetry_and_checkpoint(table, release):
    n = len(release.checkpoint_files()[2::11])
    assert list(table.columns) == list(COLUMNS)
    assert len(table) == 2 * len(SYMMETRIES) * n
    assert table["run"].nunique() == 4


def test_weights_move_and_functions_do_not(table):
    assert table["weights"].min() > 0.1
    assert table["function"].max() <= 1e-3  # one operation is 5e-5 of coverage


def test_the_default_map_does_not_move(table):
    """1e-5: sums in another order, in single precision."""
    default = table[table["map"] == "default"]
    assert default[["z", "metrics", "embeddings"]].max().max() <= 1e-5


def test_a_flat_map_moves(table):
    flat = table[table["map"] == "flat"]
    assert flat.groupby("symmetry")["z"].min().min() > 1e-3


def test_symmetries_repeat_with_their_seed(release):
    checkpoint = [load_checkpoint(release.checkpoint_files()[0])]
    maps = {"default": release.map("aligned")}
    a, b = (audit_table(maps, checkpoint, seed=3) for _ in range(2))
    assert a.equals(b)
