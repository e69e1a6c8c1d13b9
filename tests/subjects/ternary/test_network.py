"""TernaryVAE: the published names and sizes, the forward pass, its symmetries, its start."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from epsvae.subjects.ternary import (
    PUBLISHED,
    Architecture,
    TernaryVAE,
    all_operations,
    decode,
    embed,
    encode,
    init_state,
    linear,
    project,
    trunk,
)
from epsvae.subjects.ternary.symmetry import HiddenLayer, hidden_layers

pytestmark = pytest.mark.numbers

RandomState = Callable[..., dict[str, Tensor]]

VARIANTS = {
    "dual": PUBLISHED,
    "shared": Architecture(shared_projection=True),
    "deep with dropout": Architecture(projection_layers=2, projection_dropout=True),
    "hidden 128": Architecture(projection_hidden=128),
    "hidden 32": Architecture(projection_hidden=32),
}
BLOCKS = ("encoder_A", "encoder_B", "decoder_A")
MINIMAL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)
DEEP = Architecture((12,), decoder_widths=(6, 5), projection_layers=2, shared_projection=True)
SAMPLE = all_operations()[::193]
every_variant = pytest.mark.parametrize("variant", VARIANTS)


def mlp(
    sizes: list[int], activation: type[nn.Module], *, norm: bool, dropout: bool
) -> nn.Sequential:
    layers: list[nn.Module] = []
    for i, (fan_in, fan_out) in enumerate(zip(sizes[:-1], sizes[1:], strict=True)):
        layers.append(nn.Linear(fan_in, fan_out))
        if i < len(sizes) - 2:
            layers += [nn.LayerNorm(fan_out)] * norm + [activation()] + [nn.Dropout()] * dropout
    return nn.Sequential(*layers)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = mlp([9, 256, 128, 64], nn.ReLU, norm=False, dropout=False).append(nn.ReLU())
        self.fc_mu, self.fc_logvar = nn.Linear(64, 16), nn.Linear(64, 16)


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.decoder = mlp([16, 32, 64, 27], nn.ReLU, norm=False, dropout=False)


class Projection(nn.Module):
    def __init__(self, architecture: Architecture, radius_hidden: int) -> None:
        super().__init__()
        depth, dropout = architecture.projection_layers, architecture.projection_dropout
        direction = [16, *[architecture.projection_hidden] * depth, 16]
        radius = [16, *[radius_hidden] * depth, 1]
        self.direction_net = mlp(direction, nn.SiLU, norm=True, dropout=dropout)
        self.radius_net = mlp(radius, nn.SiLU, norm=False, dropout=dropout)

    def forward(self, mu: Tensor) -> Tensor:
        direction = nn.functional.normalize(mu + self.direction_net(mu), dim=-1)
        return direction * 0.95 * self.radius_net(mu).sigmoid()


class Reference(nn.Module):
    """The design's description, as ordinary torch layers: the oracle for names and values."""

    def __init__(self, variant: str) -> None:
        super().__init__()
        architecture = VARIANTS[variant]
        radius_hidden = {"hidden 128": 64}.get(variant, 32)
        self.encoder_A, self.encoder_B, self.decoder_A = Encoder(), Encoder(), Decoder()
        if variant == "shared":
            self.projection = Projection(architecture, radius_hidden)
        else:
            self.projection = nn.Module()
            self.projection.proj_A = Projection(architecture, radius_hidden)
            self.projection.proj_B = Projection(architecture, radius_hidden)
        self.eval()

    def embed(self, trits: Tensor, which: str) -> Tensor:
        encoder = self.get_submodule(f"encoder_{which}")
        projection = getattr(self.projection, f"proj_{which}", self.projection)
        return projection(encoder.fc_mu(encoder.encoder(trits)))


def test_sizes_of_the_published_network() -> None:
    parameters = dict(TernaryVAE().named_parameters())
    assert sum(p.numel() for p in parameters.values()) == 101_661
    matrices = [p for n, p in parameters.items() if p.dim() >= 2 and "decoder" not in n]
    assert len(matrices) == 18
    assert sum(p.numel() for p in matrices) == 95_808


@every_variant
def test_state_dict_order_and_shapes_are_those_of_plain_torch_layers(variant: str) -> None:
    reference = {name: tuple(p.shape) for name, p in Reference(variant).state_dict().items()}
    ours = TernaryVAE(VARIANTS[variant]).state_dict()
    assert list(VARIANTS[variant].shapes().items()) == list(reference.items())
    assert {name: tuple(p.shape) for name, p in ours.items()} == reference


@every_variant
def test_forward_is_that_of_plain_torch_layers(variant: str, random_state: RandomState) -> None:
    architecture = VARIANTS[variant]
    state, reference = random_state(architecture), Reference(variant)
    reference.load_state_dict(state, strict=True)
    for which in "AB":
        mu = encode(state, architecture, SAMPLE, which)
        ours = project(state, architecture, mu, 0.95, which)
        torch.testing.assert_close(ours, reference.embed(SAMPLE, which), rtol=0, atol=1e-5)
    mu = encode(state, architecture, SAMPLE)
    logits = reference.decoder_A.decoder(mu).view(-1, 9, 3)
    torch.testing.assert_close(decode(state, architecture, mu), logits, rtol=1e-5, atol=1e-5)
    logvar = linear(state, "encoder_B.fc_logvar", trunk(state, architecture, SAMPLE, "B"))
    encoder = reference.encoder_B
    torch.testing.assert_close(logvar, encoder.fc_logvar(encoder.encoder(SAMPLE)))


@every_variant
def test_module_is_the_functional_forward(variant: str, random_state: RandomState) -> None:
    architecture, state = VARIANTS[variant], random_state(VARIANTS[variant], seed=3)
    module = TernaryVAE(architecture, max_radius=0.8)
    module.load_state_dict(state, strict=True)
    embeddings, logits = module(SAMPLE)
    assert torch.equal(embeddings, embed(state, architecture, SAMPLE, 0.8))
    assert torch.equal(logits, decode(state, architecture, encode(state, architecture, SAMPLE)))
    (embeddings.sum() + logits.sum()).backward()
    trained = {name for name, p in module.named_parameters() if p.grad is not None}
    assert {n for n in trained if "encoder_A.encoder" in n or "decoder" in n}


@every_variant
def test_stacked_forward_is_one_network_after_the_other(
    variant: str, random_state: RandomState
) -> None:
    architecture = VARIANTS[variant]
    states = [random_state(architecture, seed) for seed in range(3)]
    stacked = {name: torch.stack([s[name] for s in states]) for name in states[0]}
    trits = torch.stack([SAMPLE, SAMPLE.flip(0), -SAMPLE])
    radii = torch.tensor([0.95, 0.5, 0.8])
    points = embed(stacked, architecture, trits, radii.view(-1, 1, 1))
    mu_b = encode(stacked, architecture, trits, "B")
    points_b = project(stacked, architecture, mu_b, 0.9, "B")
    logits = decode(stacked, architecture, mu_b)
    shared = embed(stacked, architecture, SAMPLE, radii.view(-1, 1, 1))
    torch.testing.assert_close(shared[0], points[0], rtol=0, atol=1e-5)
    for run, state in enumerate(states):
        own = embed(state, architecture, trits[run], radii[run].item())
        torch.testing.assert_close(points[run], own, rtol=0, atol=1e-5)
        own_b = encode(state, architecture, trits[run], "B")
        torch.testing.assert_close(
            points_b[run], project(state, architecture, own_b, 0.9, "B"), rtol=0, atol=1e-5
        )
        own_logits = decode(state, architecture, own_b)
        torch.testing.assert_close(logits[run], own_logits, rtol=1e-4, atol=1e-4)


@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(0.1, 0.99))
def test_embeddings_stay_inside_the_ball(
    random_state: RandomState, seed: int, scale: float, max_radius: float
) -> None:
    state = {name: scale * value for name, value in random_state(seed=seed).items()}
    norms = embed(state, PUBLISHED, SAMPLE, max_radius).norm(dim=-1)
    assert norms.isfinite().all()
    assert norms.max().item() <= max_radius * (1 + 1e-6)


SYMMETRIC = {"small": MINIMAL, "deep": DEEP}
CASES = [
    pytest.param(architecture, layer, id=f"{name}-{layer.rows[0]}")
    for name, architecture in SYMMETRIC.items()
    for layer in hidden_layers(architecture)
]


@pytest.mark.parametrize("architecture", SYMMETRIC.values(), ids=SYMMETRIC)
def test_every_hidden_layer_has_its_symmetry(architecture: Architecture) -> None:
    """What is written are all layers but the last ones, what is read all but the first ones."""
    layers = hidden_layers(architecture)
    written = [name for layer in layers for name in layer.rows if name.endswith("weight")]
    read = [name for layer in layers for name in layer.columns]
    assert len(set(written)) == len(written) and len(set(read)) == len(read)
    matrices = {name for name, shape in architecture.shapes().items() if len(shape) == 2}
    blocks = ("encoder_A", "encoder_B", "decoder_A", *architecture.projections)
    firsts, lasts = set(), set()
    for block in blocks:
        names = [f"{name}.weight" for name, *_ in architecture.linears(block)]
        for net in ("direction_net", "radius_net") if "projection" in block else ("",):
            own = [name for name in names if net in name]
            firsts.add(own[0])
            lasts |= set(own[-2:] if "encoder" in block else own[-1:])
    assert matrices - lasts == set(written) & matrices
    assert matrices - firsts == set(read)


@pytest.mark.parametrize(("architecture", "layer"), CASES)
def test_hidden_units_have_no_order_and_relu_units_no_scale(
    architecture: Architecture, layer: HiddenLayer, random_state: RandomState
) -> None:
    before = state = random_state(architecture)
    width = len(state[layer.rows[0]])
    generator = torch.Generator().manual_seed(1)
    order, scale = torch.randperm(width, generator=generator), torch.ones(width)
    if not layer.rows[0].startswith("projection"):  # LayerNorm and SiLU do feel a scale
        scale = torch.rand(width, generator=generator) * 3 + 0.2
    written = {n: _rows(state[n], scale)[order] for n in layer.rows}
    read = {n: (state[n] / scale)[:, order] for n in layer.columns}
    wholes = [_everything(s, architecture) for s in (before, before | written | read)]
    torch.testing.assert_close(*wholes, rtol=1e-4, atol=1e-4)
    halfway = _everything(before | written, architecture)
    assert (halfway - wholes[0]).abs().max() > 1e-2  # these units do matter


def _rows(parameter: Tensor, scale: Tensor) -> Tensor:
    return parameter * scale.view(-1, *[1] * (parameter.dim() - 1))


def _everything(state: dict[str, Tensor], architecture: Architecture) -> Tensor:
    """Both embeddings, both log-variances and the logits of some operations."""
    found = []
    for side in "AB":
        mu = encode(state, architecture, SAMPLE, side)
        hidden = trunk(state, architecture, SAMPLE, side)
        found += [project(state, architecture, mu, 0.95, side)]
        found += [linear(state, f"encoder_{side}.fc_logvar", hidden)]
    return torch.cat([*found, decode(state, architecture, found[0]).flatten(1)], dim=1)


def test_the_two_halves_are_separate(random_state: RandomState) -> None:
    state = random_state()
    mu, mu_b = (encode(state, PUBLISHED, SAMPLE, side) for side in "AB")
    assert not torch.allclose(mu, mu_b)
    assert not torch.allclose(*(project(state, PUBLISHED, mu, 0.95, side) for side in "AB"))


def test_a_layer_may_lack_its_bias_and_its_norm(random_state: RandomState) -> None:
    """The map drops biases and norms: a `State` may lack them."""
    state = random_state()
    bias = "encoder_A.encoder.0.bias"
    without = {name: value for name, value in state.items() if name != bias}
    zero = state | {bias: torch.zeros_like(state[bias])}
    for norm, width in PUBLISHED.norms("projection.proj_A"):
        zero |= {f"{norm}.weight": torch.ones(width), f"{norm}.bias": torch.zeros(width)}
        without = {name: value for name, value in without.items() if not name.startswith(norm)}
    points = [embed(s, PUBLISHED, SAMPLE, 0.95) for s in (without, zero)]
    torch.testing.assert_close(*points)


@every_variant
def test_start_is_the_identity_direction_at_the_middle_radius(variant: str) -> None:
    """The last layers of the projections start at zero, all others by the law of torch's."""
    architecture = VARIANTS[variant]
    state = init_state(architecture, torch.Generator().manual_seed(0))
    layers = {name for block in BLOCKS for name, *_ in architecture.linears(block)}
    for which in "AB":
        mu = encode(state, architecture, SAMPLE, which)
        points = project(state, architecture, mu, 0.95, which)
        directions = nn.functional.normalize(mu, dim=-1)
        torch.testing.assert_close(
            nn.functional.normalize(points, dim=-1), directions, rtol=0, atol=1e-5
        )
        radii = points.norm(dim=-1)
        assert (radii / 0.95 - 0.5).abs().max() < 0.3 and radii.std() > 1e-4
    for block in architecture.projections:
        layers |= {name for name, *_ in architecture.linears(block)}
        layers -= {net[-1] for net in architecture.nets(block)}
    for layer in layers:
        weight, bias = (state[f"{layer}.{part}"] for part in ("weight", "bias"))
        bound = weight.shape[1] ** -0.5
        assert 0.5 * bound < bias.abs().max() <= bound
        assert 0.9 * bound < weight.abs().max() <= bound
        assert weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.2)


def test_start_is_a_function_of_the_generator() -> None:
    before = torch.get_rng_state()
    first, again, other = (
        init_state(PUBLISHED, torch.Generator().manual_seed(seed)) for seed in (5, 5, 6)
    )
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["encoder_A.fc_mu.weight"], other["encoder_A.fc_mu.weight"])
    assert torch.equal(torch.get_rng_state(), before)
    a, b = (
        init_state(PUBLISHED, torch.Generator().manual_seed(5))[f"encoder_{x}.fc_mu.weight"]
        for x in "AB"
    )
    assert not torch.equal(a, b)
