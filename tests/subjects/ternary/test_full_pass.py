"""The full pass gives what the network's own functions give, for every architecture."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from epsvae.subjects.ternary import (
    PUBLISHED,
    Architecture,
    all_operations,
    decode,
    embed,
    encode,
)
from epsvae.subjects.ternary.full_pass import fold, full_pass, run

pytestmark = pytest.mark.numbers

RandomState = Callable[..., dict[str, Tensor]]
OTHERS = (
    PUBLISHED,
    Architecture(encoder_widths=(40,), decoder_widths=(24,), latent_dim=8),
    Architecture(encoder_widths=(96, 80, 64, 48), decoder_widths=(32, 32, 32)),
    Architecture(encoder_widths=(64, 32), projection_layers=2, shared_projection=True),
)


@pytest.mark.parametrize("architecture", OTHERS)
def test_the_full_pass_is_the_network(
    architecture: Architecture, random_state: RandomState
) -> None:
    state = random_state(architecture)
    points, reconstructed = full_pass(state, architecture, 0.9)
    trits = all_operations()
    assert torch.allclose(points, embed(state, architecture, trits, 0.9), atol=2e-6, rtol=0)
    logits = decode(state, architecture, encode(state, architecture, trits))
    right = (logits.argmax(-1) - 1 == trits).all(-1).sum().item()
    assert abs(reconstructed - right) <= 2  # logits that tie up to rounding


def test_folded_biases_reach_the_output(random_state: RandomState) -> None:
    """Units that are always on, always off, and in between."""
    state = {name: value.double() for name, value in random_state(PUBLISHED).items()}
    names = ["decoder_A.decoder.0", "decoder_A.decoder.2", "decoder_A.decoder.4"]
    for name in names:
        size = state[f"{name}.bias"].numel()
        state[f"{name}.bias"] = torch.linspace(-3, 3, size, dtype=torch.float64)
    x = torch.randn(50, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    out = torch.empty(50, 27, dtype=torch.float64)
    run(fold(state, names), x, out)
    assert torch.allclose(out, decode(state, PUBLISHED, x).flatten(1), atol=1e-12, rtol=0)
