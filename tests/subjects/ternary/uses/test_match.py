import torch

from epsvae.subjects.ternary import Architecture, init_state
from epsvae.subjects.ternary.library.layout import all_layout
from epsvae.subjects.ternary.uses import match_units, run_weights
from research.trust.audit import permute

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)


def vector(seed):
    """A network whose every layer is drawn, also those that start at zero."""
    generator = torch.Generator().manual_seed(seed)
    state = init_state(SMALL, generator)
    state = {n: torch.randn(x.shape, generator=generator) / 3 for n, x in state.items()}
    return all_layout(SMALL).flatten(state | {"max_radius": torch.tensor([0.9])})


def test_a_shuffled_copy_is_put_in_order():
    a = vector(0)
    state = all_layout(SMALL).unflatten(a)
    generator = torch.Generator().manual_seed(1)
    shuffled = all_layout(SMALL).flatten(permute(state, SMALL, generator))
    assert not torch.equal(shuffled, a)
    torch.testing.assert_close(match_units(a, shuffled, SMALL), a)


def test_the_function_stays_and_the_distance_falls():
    a, b = vector(0), vector(2)
    matched = match_units(a, b, SMALL)
    before, after = (run_weights(SMALL, w[None]) for w in (b, matched))
    torch.testing.assert_close(before.metrics, after.metrics, atol=1e-3, rtol=0)
    torch.testing.assert_close(before.embeddings, after.embeddings, atol=1e-5, rtol=0)
    assert (matched - a).norm() < (b - a).norm()
    torch.testing.assert_close(match_units(a, matched, SMALL), matched)
