"""States in general position: nothing zero, nothing one, so that every parameter matters."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from epsvae.subjects.ternary import PUBLISHED, Architecture

RandomState = Callable[..., dict[str, Tensor]]


@pytest.fixture(scope="session")
def random_state() -> RandomState:
    """Return a function that draws every parameter, LayerNorm and last layers included."""

    def draw(architecture: Architecture = PUBLISHED, seed: int = 0) -> dict[str, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return {
            name: torch.randn(shape, generator=generator) * 1.5 * shape[-1] ** -0.5
            for name, shape in architecture.shapes().items()
        }

    return draw
