"""The Poincaré ball: the laws of a metric, and geoopt as the oracle."""

import warnings

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from epsvae.subjects.ternary import poincare

pytestmark = pytest.mark.numbers

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # it compiles with torch.jit.script
    import geoopt

DIM = 4
EXACT = 1e-9
"""Tolerance of laws in float64, away from x = y."""
NEAR = 1.1e-6
"""Tolerance where points may coincide: a distance of zero reads as `poincare.EPSILON`."""
TOLERANCE = {  # largest error against geoopt in float64, by the largest norm
    (torch.float64, 0.5): 1e-10,
    (torch.float64, 0.95): 1e-10,
    (torch.float64, 0.99): 1e-10,
    (torch.float64, 0.999): 1e-9,
    (torch.float32, 0.5): 1e-6,
    (torch.float32, 0.95): 1e-5,
    (torch.float32, 0.99): 5e-5,
    (torch.float32, 0.999): 5e-4,
}
BALL = geoopt.PoincareBall(c=1.0)


@st.composite
def points(draw: st.DrawFn, max_norm: float = 0.99) -> Tensor:
    """A point of the ball in float64: the origin, a point near the rim or one between."""
    coordinate = st.floats(-1, 1, allow_subnormal=False)
    direction = torch.tensor(
        draw(st.lists(coordinate, min_size=DIM, max_size=DIM)), dtype=torch.float64
    )
    norm = draw(st.sampled_from([0.0, 1e-3, max_norm]) | st.floats(0, max_norm))
    return torch.nn.functional.normalize(direction, dim=0) * norm


def random_points(n: int, max_norm: float, seed: int) -> Tensor:
    """Points of all directions, most of them close to `max_norm`."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 16, generator=generator, dtype=torch.float64)
    spread = torch.rand(n, 1, generator=generator, dtype=torch.float64).pow(0.1)
    return x / x.norm(dim=-1, keepdim=True) * max_norm * spread


@given(points(), points(), points())
def test_distance_is_a_metric(x: Tensor, y: Tensor, z: Tensor) -> None:
    there, back = poincare.distance(x, y), poincare.distance(y, x)
    assert there.item() >= 0
    assert there.item() == pytest.approx(back.item(), abs=EXACT)
    assert poincare.distance(x, x).item() <= NEAR
    detour = there + poincare.distance(y, z)
    assert poincare.distance(x, z).item() <= detour.item() + EXACT
    from_origin = poincare.distance(torch.zeros_like(x), x).item()
    assert from_origin == pytest.approx(poincare.radius(x).item(), abs=NEAR)


@given(points(0.8), points(0.8), points(0.8))
def test_left_translation_is_an_isometry(a: Tensor, x: Tensor, y: Tensor) -> None:
    moved = poincare.distance(BALL.mobius_add(a, x), BALL.mobius_add(a, y))
    assert moved.item() == pytest.approx(poincare.distance(x, y).item(), abs=NEAR)


@pytest.mark.parametrize(("dtype", "max_norm"), TOLERANCE)
def test_geoopt_agrees(dtype: torch.dtype, max_norm: float) -> None:
    x, y = random_points(2000, max_norm, seed=0), random_points(2000, max_norm, seed=1)
    close = {"rtol": 0.0, "atol": TOLERANCE[dtype, max_norm], "check_dtype": False}
    ours = poincare.distance(x.to(dtype), y.to(dtype))
    assert ours.dtype == dtype
    torch.testing.assert_close(ours, BALL.dist(x, y), **close)
    torch.testing.assert_close(poincare.radius(x.to(dtype)), BALL.dist0(x), **close)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize("gap", [1e-2, 1e-3, 1e-4])
def test_geoopt_agrees_on_neighbours(dtype: torch.dtype, gap: float) -> None:
    x = random_points(500, 0.9, seed=2).to(dtype)
    y = x + gap * random_points(500, 0.5, seed=3).to(dtype)
    torch.testing.assert_close(
        poincare.distance(x, y).double(), BALL.dist(x.double(), y.double()), rtol=1e-3, atol=0.0
    )


def rim(norm: float, sign: float = 1.0) -> list[float]:
    return [sign * norm, 0.0, 0.0, 0.0]


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
@pytest.mark.parametrize(
    ("x", "y"),
    [
        pytest.param(rim(1.0), rim(1.0, -1.0), id="both on the boundary"),
        pytest.param(rim(1.0), rim(1.0), id="the same boundary point"),
        pytest.param(rim(1.0), rim(0.0), id="boundary and origin"),
        pytest.param(rim(1 - 1e-7), rim(0.95), id="just inside"),
        pytest.param(rim(0.5), rim(0.5), id="x = y"),
        pytest.param(rim(0.0), rim(0.0), id="origin twice"),
    ],
)
def test_gradients_are_finite(dtype: torch.dtype, x: list[float], y: list[float]) -> None:
    points = torch.tensor([x, y], dtype=dtype, requires_grad=True)
    total = poincare.distance(points[0], points[1]) + poincare.radius(points).sum()
    (gradient,) = torch.autograd.grad(total, points)
    assert total.isfinite()
    assert gradient.isfinite().all()


def test_gradients_are_those_of_the_formula() -> None:
    x = random_points(5, 0.95, seed=4).requires_grad_()
    y = random_points(5, 0.95, seed=5).requires_grad_()
    assert torch.autograd.gradcheck(poincare.distance, (x, y))
    assert torch.autograd.gradcheck(poincare.radius, (x,))
