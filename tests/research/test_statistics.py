"""Layer statistics: those of numpy and scipy, and blind to the order of hidden units."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import PUBLISHED, Architecture
from epsvae.subjects.ternary.library.layout import Layout, all_layout, key_layout
from research.statistics import (
    CHUNK,
    MATRIX_STATISTICS,
    VECTOR_STATISTICS,
    layer_statistics,
    split_statistics,
    statistic_names,
)

pytestmark = pytest.mark.numbers

ORACLES = {
    "mean": np.mean,
    "std": np.std,
    "abs_mean": lambda m: np.abs(m).mean(),
    "norm": np.linalg.norm,
    "skewness": lambda m: stats.skew(m.ravel()),
    "kurtosis": lambda m: stats.kurtosis(m.ravel()),
    "spectral_norm": lambda m: np.linalg.norm(m, ord=2),
    "q0": np.min,
    "q5": lambda m: np.quantile(m, 0.05),
    "q25": lambda m: np.quantile(m, 0.25),
    "q50": np.median,
    "q75": lambda m: np.quantile(m, 0.75),
    "q95": lambda m: np.quantile(m, 0.95),
    "q100": np.max,
}


def one(matrix):
    """Statistics of a single matrix, by name."""
    matrix = np.asarray(matrix, dtype=np.float32)
    layout = Layout(("m",), (matrix.shape,))
    values = layer_statistics(matrix.reshape(1, -1), layout)[0]
    return dict(zip(MATRIX_STATISTICS, values, strict=True))


def test_names_follow_the_layout():
    names = statistic_names(key_layout(PUBLISHED))
    assert len(names) == len(set(names)) == 18 * 14
    assert names[0] == "encoder_A.encoder.0.weight:mean"
    assert names[14] == "encoder_A.encoder.2.weight:mean"
    everything = statistic_names(all_layout(PUBLISHED))
    assert everything[: len(names)] == names
    assert everything[-2:] == tuple(f"max_radius:{s}" for s in VECTOR_STATISTICS)


@pytest.mark.parametrize("shape", [(5, 3), (3, 5), (1, 7), (8, 8)])
@pytest.mark.parametrize("name", ORACLES)
def test_statistics_are_those_of_numpy_and_scipy(shape, name):
    matrix = np.random.default_rng(0).gamma(2.0, size=shape).astype(np.float32)
    assert one(matrix)[name] == pytest.approx(float(ORACLES[name](matrix)), rel=1e-4, abs=1e-5)


@given(st.integers(0, 10_000))
def test_order_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(6, 4))
    mixed = matrix[rng.permutation(6)][:, rng.permutation(4)]
    np.testing.assert_allclose(list(one(matrix).values()), list(one(mixed).values()), atol=1e-5)


@given(st.integers(0, 10_000), st.floats(0.1, 10))
def test_scale_acts_on_sizes_and_not_on_shapes(seed, factor):
    matrix = np.random.default_rng(seed).normal(size=(6, 4))
    before, after = one(matrix), one(factor * matrix)
    for name in MATRIX_STATISTICS:
        wanted = before[name] * (1 if name in ("skewness", "kurtosis") else factor)
        assert after[name] == pytest.approx(wanted, rel=1e-3, abs=1e-4)


def test_permuted_hidden_units_have_the_same_statistics(data, small, permute):
    layout = all_layout(small)
    vector = torch.from_numpy(np.concatenate([data.train.weights[0], data.train.rest[0]]))
    state = layout.unflatten(vector)
    moved = layout.flatten(permute(state, small))
    assert not torch.equal(moved, vector)
    pair = [layer_statistics(v.numpy()[None], layout)[0] for v in (vector, moved)]
    np.testing.assert_allclose(pair[0], pair[1], atol=1e-5)


def test_a_constant_matrix_is_finite_and_has_no_shape():
    found = one(np.full((4, 3), 0.5))
    assert found["std"] == found["skewness"] == found["kurtosis"] == 0
    assert found["q5"] == found["mean"] == 0.5
    assert np.isfinite(list(one(np.zeros((4, 3))).values())).all()


def test_chunks_do_not_show(small):
    layout, n = key_layout(small), CHUNK + 3
    rows = np.random.default_rng(0).normal(size=(n, layout.n_weights)).astype("f4")
    together = layer_statistics(rows, layout)
    assert together.shape == (n, len(statistic_names(layout)))
    assert together.dtype == np.float64
    alone = np.concatenate([layer_statistics(row[None], layout) for row in rows[-5:]])
    np.testing.assert_allclose(together[-5:], alone, rtol=1e-5, atol=1e-6)


def test_statistics_of_a_split_are_computed_once(data):
    first = split_statistics(data.test)
    assert split_statistics(data.test) is first
    assert first.shape == (12, len(statistic_names(key_layout(data.test.architecture))))


def test_rows_of_another_layout_are_refused(small):
    other = key_layout(Architecture(shared_projection=True)).n_weights
    with pytest.raises(LibraryError, match=f"rows of .* numbers, found {other}"):
        layer_statistics(np.zeros((1, other), dtype="f4"), key_layout(PUBLISHED))
