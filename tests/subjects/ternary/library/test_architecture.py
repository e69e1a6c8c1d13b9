"""The architecture is read from a file's own shapes, whatever variant the published names spell."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from epsvae.errors import CheckpointError, few
from epsvae.subjects.ternary import PUBLISHED, Architecture, TernaryVAE, init_state
from epsvae.subjects.ternary.library.architecture import infer_architecture
from epsvae.subjects.ternary.library.layout import extract_key_weights, key_layout
from research.ternary.catalogue import ARCHITECTURES

DEEP = Architecture(projection_layers=2, projection_dropout=True)
VARIANTS = ARCHITECTURES | {
    "published": PUBLISHED,
    "dropout": Architecture(projection_dropout=True),
    "deep-dropout": DEEP,
    "shared-dropout": Architecture(shared_projection=True, projection_dropout=True),
    "latent-8": Architecture(latent_dim=8, decoder_widths=(64,)),
}


def linears(prefix, sizes, names):
    """Linear layers as a published state dict spells them; written out by hand on purpose."""
    state = {}
    for name, fan_in, fan_out in zip(names, sizes[:-1], sizes[1:], strict=True):
        state[f"{prefix}.{name}.weight"] = torch.zeros(fan_out, fan_in)
        state[f"{prefix}.{name}.bias"] = torch.zeros(fan_out)
    return state


def published_state(projections, direction, radius, norms, hidden=64):
    """A state with the given indices of the projections' linear and LayerNorm layers."""
    state = linears("decoder_A.decoder", (16, 32, 64, 27), "024")
    for side in "AB":
        state |= linears(f"encoder_{side}.encoder", (9, 256, 128, 64), "024")
        for head in ("fc_mu", "fc_logvar"):
            state |= linears(f"encoder_{side}", (64, 16), (head,))
    for block in projections:
        inner = len(direction) - 1
        state |= linears(f"{block}.direction_net", (16, *[hidden] * inner, 16), direction)
        state |= linears(f"{block}.radius_net", (16, *[max(32, hidden // 2)] * inner, 1), radius)
        for norm in norms:
            state[f"{block}.direction_net.{norm}.weight"] = torch.zeros(hidden)
            state[f"{block}.direction_net.{norm}.bias"] = torch.zeros(hidden)
    return state


BOTH, SHARED = ("projection.proj_A", "projection.proj_B"), ("projection",)


@pytest.mark.parametrize(
    ("state", "expected", "n_weights"),
    [
        (published_state(BOTH, "03", "02", "1"), PUBLISHED, 95_808),
        (published_state(SHARED, "03", "02", "1"), Architecture(shared_projection=True), 93_216),
        (published_state(BOTH, "04", "03", "1"), Architecture(projection_dropout=True), 95_808),
        (
            published_state(BOTH, "03", "02", "1", hidden=128),
            Architecture(projection_hidden=128),
            95_808 + 2 * (2 * 64 * 16 + 32 * 17),
        ),
        (
            published_state(BOTH, "036", "024", "14"),
            Architecture(projection_layers=2),
            95_808 + 2 * (64 * 64 + 32 * 32),
        ),
    ],
    ids=["published", "shared", "dropout", "wide", "deep"],
)
def test_published_names_are_understood(state, expected, n_weights):
    assert infer_architecture(state) == expected
    assert extract_key_weights(state).shape == (n_weights,)


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant_is_told_from_its_shapes(name):
    state = init_state(VARIANTS[name], torch.Generator().manual_seed(0))
    assert infer_architecture(state) == VARIANTS[name]
    assert infer_architecture(dict(reversed(state.items()))) == VARIANTS[name]


@pytest.mark.parametrize("name", VARIANTS)
def test_a_module_of_the_variant_loads_the_state_strictly(name):
    module = TernaryVAE(VARIANTS[name])
    module.load_state_dict(init_state(VARIANTS[name], torch.Generator().manual_seed(1)))
    assert infer_architecture(module.state_dict()) == VARIANTS[name]


def test_no_two_variants_look_alike():
    shapes = {name: tuple(sorted(a.shapes().items())) for name, a in VARIANTS.items()}
    assert len(set(shapes.values())) == len(VARIANTS)


SMALL = Architecture((12, 8), 4, (6,), 8)


@given(
    name=st.sampled_from(list(SMALL.shapes())),
    damage=st.sampled_from(["missing", "renamed", "longer", "extra"]),
)
def test_nothing_may_be_missing_extra_or_of_another_shape(name, damage):
    """The accident that `strict=False` made silent must be loud, whichever parameter it hits."""
    state = init_state(SMALL, torch.Generator())
    tensor = state.pop(name)
    if damage == "renamed":
        state[f"{name}_"] = tensor
    elif damage == "longer":
        state[name] = torch.zeros(tensor.shape[0] + 1, *tensor.shape[1:])
    elif damage == "extra":
        state |= {name: tensor, f"controller.{name}": tensor}
    with pytest.raises(CheckpointError, match=r"expected .*(found|missing) \S"):
        infer_architecture(state)


def test_a_shared_projection_is_not_taken_for_two():
    one = init_state(VARIANTS["shared-projection"], torch.Generator())
    two = init_state(PUBLISHED, torch.Generator())
    with pytest.raises(CheckpointError, match=re.escape("projection.proj_A")):
        infer_architecture(one | {n: t for n, t in two.items() if "proj_A" in n})
    assert key_layout(VARIANTS["shared-projection"]).n_weights == 93_216


def test_long_lists_are_cut():
    assert few("abcdef") == "a, b, c, d, and 2 more"
    assert few([]) == ""
    assert len(few(["x" * 10_000])) == 500
