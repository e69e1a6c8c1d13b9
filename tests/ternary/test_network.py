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

RandomState = Callable[..., dict[str, Tensor]]

ENCODER = ["encoder.0", "encoder.2", "encoder.4", "fc_mu", "fc_logvar"]
DUAL = ["proj_A.", "proj_B."]
# name: (architecture, prefixes of the projections, direction net, radius net, its hidden width)
VARIANTS: dict[str, tuple[Architecture, list[str], list[int], list[int], int]] = {
    "dual": (PUBLISHED, DUAL, [0, 1, 3], [0, 2], 32),
    "shared": (Architecture(shared_projection=True), [""], [0, 1, 3], [0, 2], 32),
    "deep": (Architecture(projection_layers=2), DUAL, [0, 1, 3, 4, 6], [0, 2, 4], 32),
    "dropout": (Architecture(projection_dropout=True), DUAL, [0, 1, 4], [0, 3], 32),
    "hidden 128": (Architecture(projection_hidden=128), DUAL, [0, 1, 3], [0, 2], 64),
    "hidden 32": (Architecture(projection_hidden=32), DUAL, [0, 1, 3], [0, 2], 32),
    "deep with dropout": (
        Architecture(projection_layers=2, projection_dropout=True),
        DUAL,
        [0, 1, 4, 5, 8],
        [0, 3, 6],
        32,
    ),
}
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
        architecture, prefixes, _, _, radius_hidden = VARIANTS[variant]
        self.encoder_A, self.encoder_B, self.decoder_A = Encoder(), Encoder(), Decoder()
        if prefixes == DUAL:
            self.projection = nn.Module()
            self.projection.proj_A = Projection(architecture, radius_hidden)
            self.projection.proj_B = Projection(architecture, radius_hidden)
        else:
            self.projection = Projection(architecture, radius_hidden)
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


def test_key_weights_of_a_shared_projection() -> None:
    shapes = VARIANTS["shared"][0].shapes()
    matrices = [s for n, s in shapes.items() if len(s) == 2 and "decoder" not in n]
    assert sum(rows * columns for rows, columns in matrices) == 93_216


@every_variant
def test_names_are_the_published_ones(variant: str) -> None:
    architecture, prefixes, direction, radius, radius_hidden = VARIANTS[variant]
    layers = [f"encoder_{x}.{layer}" for x in "AB" for layer in ENCODER]
    layers += [f"decoder_A.decoder.{i}" for i in (0, 2, 4)]
    for prefix in prefixes:
        layers += [f"projection.{prefix}direction_net.{i}" for i in direction]
        layers += [f"projection.{prefix}radius_net.{i}" for i in radius]
    names = {f"{layer}.{leaf}" for layer in layers for leaf in ("weight", "bias")}
    state = TernaryVAE(architecture).state_dict()
    assert set(state) == names
    assert state[f"projection.{prefixes[0]}radius_net.0.weight"].shape == (radius_hidden, 16)


@every_variant
def test_state_dict_order_and_shapes_are_those_of_plain_torch_layers(variant: str) -> None:
    reference = {name: tuple(p.shape) for name, p in Reference(variant).state_dict().items()}
    ours = TernaryVAE(VARIANTS[variant][0]).state_dict()
    assert VARIANTS[variant][0].shapes() == reference
    assert list(VARIANTS[variant][0].shapes()) == list(reference)
    assert {name: tuple(p.shape) for name, p in ours.items()} == reference


@every_variant
def test_forward_is_that_of_plain_torch_layers(variant: str, random_state: RandomState) -> None:
    architecture = VARIANTS[variant][0]
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
    architecture, state = VARIANTS[variant][0], random_state(VARIANTS[variant][0], seed=3)
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
    architecture = VARIANTS[variant][0]
    states = [random_state(architecture, seed) for seed in range(3)]
    stacked = {name: torch.stack([s[name] for s in states]) for name in states[0]}
    trits = torch.stack([SAMPLE, SAMPLE.flip(0), -SAMPLE])
    radii = torch.tensor([0.95, 0.5, 0.8])
    points = embed(stacked, architecture, trits, radii.view(-1, 1, 1))
    mu_b = encode(stacked, architecture, trits, "B")
    points_b = project(stacked, architecture, mu_b, 0.9, "B")
    logits = decode(stacked, architecture, mu_b)
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


def hidden_units(projection: str, depth: int) -> list[tuple[list[str], list[str]]]:
    """(layers whose rows, layers whose columns) belong to each set of hidden units behind A."""
    first = [f"encoder_A.{layer}" for layer in ENCODER]
    units = [([first[0]], [first[1]]), ([first[1]], [first[2]]), ([first[2]], first[3:])]
    for layer in range(depth):
        net, at = f"{projection}.direction_net", 3 * layer
        units.append(([f"{net}.{at}", f"{net}.{at + 1}"], [f"{net}.{at + 3}"]))
        net, at = f"{projection}.radius_net", 2 * layer
        units.append(([f"{net}.{at}"], [f"{net}.{at + 2}"]))
    return units


SYMMETRIC = {
    "dual": hidden_units("projection.proj_A", 1),
    "shared": hidden_units("projection", 1),
    "deep": hidden_units("projection.proj_A", 2),
}
CASES = [(variant, unit) for variant, units in SYMMETRIC.items() for unit in range(len(units))]


@pytest.mark.parametrize(("variant", "unit"), CASES)
def test_permuting_hidden_units_leaves_embeddings(
    variant: str, unit: int, random_state: RandomState
) -> None:
    architecture, (rows, columns) = VARIANTS[variant][0], SYMMETRIC[variant][unit]
    state = random_state(architecture)
    before = embed(state, architecture, SAMPLE, 0.95)
    width = len(state[f"{rows[0]}.weight"])
    order = torch.randperm(width, generator=torch.Generator().manual_seed(unit))
    for name in rows:
        for leaf in ("weight", "bias"):
            state[f"{name}.{leaf}"] = state[f"{name}.{leaf}"][order]
    halfway = embed(state, architecture, SAMPLE, 0.95)
    assert (halfway - before).abs().max() > 1e-2  # these units do matter
    for name in columns:
        state[f"{name}.weight"] = state[f"{name}.weight"][:, order]
    after = embed(state, architecture, SAMPLE, 0.95)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


@pytest.mark.parametrize("unit", range(3))
def test_rescaling_relu_units_leaves_embeddings(unit: int, random_state: RandomState) -> None:
    (row,), columns = SYMMETRIC["dual"][unit]
    state = random_state()
    before = embed(state, PUBLISHED, SAMPLE, 0.95)
    generator = torch.Generator().manual_seed(unit)
    scale = torch.rand(len(state[f"{row}.bias"]), generator=generator) * 3 + 0.2
    state[f"{row}.weight"] = state[f"{row}.weight"] * scale.unsqueeze(1)
    state[f"{row}.bias"] = state[f"{row}.bias"] * scale
    assert (embed(state, PUBLISHED, SAMPLE, 0.95) - before).abs().max() > 1e-2
    for name in columns:
        state[f"{name}.weight"] = state[f"{name}.weight"] / scale
    after = embed(state, PUBLISHED, SAMPLE, 0.95)
    torch.testing.assert_close(after, before, rtol=0, atol=1e-5)


@every_variant
def test_start_is_the_identity_direction_at_the_middle_radius(variant: str) -> None:
    architecture, _, direction, radius, _ = VARIANTS[variant]
    state = init_state(architecture, torch.Generator().manual_seed(0))
    for which, block in (("A", architecture.projections[0]), ("B", architecture.projections[-1])):
        assert not state[f"{block}.direction_net.{direction[-1]}.weight"].any()
        assert not state[f"{block}.direction_net.{direction[-1]}.bias"].any()
        assert not state[f"{block}.radius_net.{radius[-1]}.bias"].any()
        mu = encode(state, architecture, SAMPLE, which)
        points = project(state, architecture, mu, 0.95, which)
        hidden = mu
        for i in radius[:-1]:
            hidden = nn.functional.silu(linear(state, f"{block}.radius_net.{i}", hidden))
        logit = hidden @ state[f"{block}.radius_net.{radius[-1]}.weight"].T
        assert logit.std() > 1e-3
        expected = nn.functional.normalize(mu, dim=-1) * 0.95 * logit.sigmoid()
        torch.testing.assert_close(points, expected, rtol=0, atol=1e-6)


@every_variant
def test_start_follows_the_law_of_torch_linear_layers(variant: str) -> None:
    architecture = VARIANTS[variant][0]
    state = init_state(architecture, torch.Generator().manual_seed(0))
    norms = {name for block in architecture.projections for name, _ in architecture.norms(block)}
    for name in norms:
        assert (state[f"{name}.weight"] == 1).all()
        assert (state[f"{name}.bias"] == 0).all()
    for layer in {name.rpartition(".")[0] for name in state} - norms:
        weight = state[f"{layer}.weight"]
        for value in (weight, state[f"{layer}.bias"]):
            if not value.any():
                continue  # the zeroed last layers of the projections
            largest = value.abs().max().item() * weight.shape[1] ** 0.5
            assert largest <= 1
            assert largest > 0.5
            if value.numel() >= 128:
                assert largest > 0.9
                assert value.std().item() == pytest.approx((3 * weight.shape[1]) ** -0.5, rel=0.2)


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


def test_the_two_halves_are_separate(random_state: RandomState) -> None:
    state = random_state()
    before = embed(state, PUBLISHED, SAMPLE, 0.95)
    for name in state:
        if "_B." in name or "fc_logvar" in name:
            state[name] = state[name] + 1
    assert torch.equal(embed(state, PUBLISHED, SAMPLE, 0.95), before)
    mu = encode(state, PUBLISHED, SAMPLE)
    assert not torch.allclose(encode(state, PUBLISHED, SAMPLE, "B"), mu)
    a, b = (project(state, PUBLISHED, mu, 0.95, x) for x in "AB")
    assert not torch.allclose(a, b)


def test_a_layer_without_bias(random_state: RandomState) -> None:
    """The map drops biases and norms: a `State` may lack them."""
    state = random_state()
    name = "encoder_A.encoder.0"
    expected = SAMPLE @ state[f"{name}.weight"].T
    bare = {f"{name}.weight": state[f"{name}.weight"]}
    torch.testing.assert_close(linear(bare, name, SAMPLE), expected)
    stacked = {f"{name}.weight": torch.stack([state[f"{name}.weight"]] * 2)}
    both = linear(stacked, name, torch.stack([SAMPLE, -SAMPLE]))
    torch.testing.assert_close(both, torch.stack([expected, -expected]))
    unit = random_state()
    for norm, width in PUBLISHED.norms("projection.proj_A"):
        unit[f"{norm}.weight"], unit[f"{norm}.bias"] = torch.ones(width), torch.zeros(width)
    bare = {key: value for key, value in unit.items() if "proj_A.direction_net.1." not in key}
    torch.testing.assert_close(
        embed(bare, PUBLISHED, SAMPLE, 0.95), embed(unit, PUBLISHED, SAMPLE, 0.95)
    )


def test_stacked_networks_may_share_their_operations(random_state: RandomState) -> None:
    states = [random_state(seed=seed) for seed in range(2)]
    stacked = {name: torch.stack([s[name] for s in states]) for name in states[0]}
    points = embed(stacked, PUBLISHED, SAMPLE, 0.95)
    own = torch.stack([embed(state, PUBLISHED, SAMPLE, 0.95) for state in states])
    torch.testing.assert_close(points, own, rtol=0, atol=1e-5)
