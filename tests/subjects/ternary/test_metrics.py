"""The three metrics: their best values, their oracles in scipy, and that nothing in them moves."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from torch import Tensor

from epsvae.subjects.ternary import (
    N_OPERATIONS,
    PUBLISHED,
    Architecture,
    all_operations,
    decode,
    embed,
    encode,
    evaluate,
    operation_trits,
    operation_valuations,
    poincare,
    target_distance,
    target_radius,
)
from epsvae.subjects.ternary.full_pass import count_reconstructed
from epsvae.subjects.ternary.metrics import (
    N_PAIRS,
    distance_correlation,
    radial_hierarchy,
    uniform_pairs,
)

pytestmark = pytest.mark.numbers

RandomState = Callable[..., dict[str, Tensor]]
COUNTS = np.array([13122, 4374, 1458, 486, 162, 54, 18, 6, 2, 1])
BEST = float(np.sqrt(1 - (COUNTS**3 - COUNTS).sum() / (19683**3 - 19683)))
"""Best |Spearman| of valuation with distinct radii.

The mid-ranks of valuations have variance (n^3 - n - sum(t^3 - t)) / 12n over ties of sizes t,
distinct radii have (n^3 - n) / 12n. Radii in the order of valuation have in each tie the same sum
of ranks as the mid-ranks, so covariance = variance of the mid-ranks, and correlation = the square
root of the ratio. By the rearrangement inequality no other order has a larger covariance.
"""
VALUATIONS = operation_valuations().numpy()


def on_axis(keys: np.ndarray) -> Tensor:
    """Points on one axis with distinct norms, which are in the order of the keys."""
    norms = torch.empty(N_OPERATIONS)
    norms[torch.from_numpy(np.argsort(keys))] = torch.linspace(0.05, 0.95, N_OPERATIONS)
    return torch.nn.functional.pad(norms.unsqueeze(1), (2, 13))


@given(st.integers(0, 2**32 - 1), st.floats(1e-3, 1e3), st.sampled_from([-1, 1]))
def test_the_best_hierarchy_is_minus_0_8321(seed: int, noise: float, sign: int) -> None:
    """Reached however ties break, and beaten by no other arrangement of distinct radii."""
    assert round(BEST, 4) == 0.8321
    rng = np.random.default_rng(seed)
    best = on_axis(rng.random(N_OPERATIONS) - sign * VALUATIONS)
    assert radial_hierarchy(best) == pytest.approx(-sign * BEST, abs=1e-12)
    other = sign * VALUATIONS + noise * rng.standard_normal(N_OPERATIONS)
    assert abs(radial_hierarchy(on_axis(other))) <= BEST + 1e-12


def test_radii_that_tie_with_the_valuations_go_beyond() -> None:
    """The bound is one of distinct radii: in exact ties Spearman itself reaches -1."""
    norms = target_radius(operation_valuations()).unsqueeze(1)
    assert radial_hierarchy(torch.nn.functional.pad(norms, (2, 13))) == pytest.approx(-1)


def test_collapsed_embeddings_correlate_with_nothing() -> None:
    collapsed = torch.full((N_OPERATIONS, 16), 0.1)
    assert radial_hierarchy(collapsed) == 0
    assert distance_correlation(collapsed) == 0


def test_pairs_are_uniform_over_different_operations() -> None:
    (i, j), _ = uniform_pairs()
    assert i.shape == j.shape == (N_PAIRS,)
    assert not (i == j).any()
    for side in (i, j):
        share = side.bincount(minlength=N_OPERATIONS).view(27, -1).sum(1) / N_PAIRS
        assert (share - 1 / 27).abs().max() < 5 * (1 / 27 / N_PAIRS) ** 0.5
    shares = operation_valuations()[(i - j).abs()].bincount(minlength=9) / N_PAIRS
    at_least = torch.tensor([3 ** (9 - k) - 1 for k in range(10)]) / (N_OPERATIONS - 1)
    expected = at_least[:-1] - at_least[1:]
    assert ((shares - expected).abs() < 5 * (expected / N_PAIRS).sqrt()).all()


IDENTITY = Architecture(encoder_widths=(18,), latent_dim=9, decoder_widths=(18,))


def identity_state(random_state: RandomState) -> dict[str, Tensor]:
    """A network that is right by hand: mu = trits, and the logit of c is 2 c t - c^2."""
    eye, state = torch.eye(9), random_state(IDENTITY)
    both, back = torch.cat([eye, -eye]), torch.cat([eye, -eye], dim=1)
    values = torch.tensor([-1.0, 0.0, 1.0])
    return state | {
        "encoder_A.encoder.0.weight": both,
        "encoder_A.encoder.0.bias": torch.zeros(18),
        "encoder_A.fc_mu.weight": back,
        "encoder_A.fc_mu.bias": torch.zeros(9),
        "decoder_A.decoder.0.weight": both,
        "decoder_A.decoder.0.bias": torch.zeros(18),
        "decoder_A.decoder.2.weight": torch.cat(
            [2 * value * row.unsqueeze(0) for row in back for value in values]
        ),
        "decoder_A.decoder.2.bias": (-values.square()).repeat(9),
    }


def test_coverage_of_a_decoder_that_is_right_by_hand(random_state: RandomState) -> None:
    state = identity_state(random_state)
    assert evaluate(state, IDENTITY, 0.95).coverage == 1
    bias = state["decoder_A.decoder.2.bias"]
    bias[3 * 8 + 2] = -10  # never says that the last trit is 1
    assert evaluate(state, IDENTITY, 0.95).coverage == 13122 / 19683
    bias[3 * 0 + 1] = -10  # nor that the first one is 0
    assert evaluate(state, IDENTITY, 0.95).coverage == 8748 / 19683
    bias[1::3] = -10
    assert evaluate(state, IDENTITY, 0.95).coverage == 2**8 / 19683


@given(st.lists(st.integers(0, N_OPERATIONS - 1), min_size=1, max_size=20), st.data())
def test_one_wrong_trit_is_enough(index: list[int], data: st.DataObject) -> None:
    trits = operation_trits(torch.tensor(index))
    logits = torch.nn.functional.one_hot(trits.long() + 1, 3).float()
    wrong = data.draw(st.sets(st.integers(0, len(index) - 1)))
    for k in wrong:
        trit = data.draw(st.integers(0, 8))
        logits[k, trit] = logits[k, trit].roll(data.draw(st.integers(1, 2)))
    by_column = logits.permute(1, 2, 0), trits.T.to(torch.int8)
    assert count_reconstructed(*by_column) == len(index) - len(wrong)


def test_a_decoder_that_says_nothing_covers_next_to_nothing() -> None:
    silent = torch.zeros(9, 3, N_OPERATIONS)
    assert count_reconstructed(silent, all_operations().T.to(torch.int8)) <= 1


def test_evaluate_is_the_three_definitions(random_state: RandomState) -> None:
    state = identity_state(random_state)
    state["decoder_A.decoder.2.weight"] = state["decoder_A.decoder.2.weight"] + 0.4 * torch.randn(
        27, 18, generator=torch.Generator().manual_seed(0)
    )
    result = evaluate(state, IDENTITY, 0.9)
    points = embed(state, IDENTITY, all_operations(), 0.9).double()
    logits = decode(state, IDENTITY, encode(state, IDENTITY, all_operations()))
    right = (logits.argmax(-1) - 1 == all_operations()).all(-1).double().mean().item()
    assert 0.01 < right < 0.99
    assert result.coverage == pytest.approx(right, abs=1e-4)
    (i, j), target = uniform_pairs()
    assert torch.equal(target, target_distance(i, j))
    distances = poincare.distance(points[i], points[j])
    oracle = pearsonr(distances.numpy(), target.double().numpy()).statistic
    assert result.distance_correlation == pytest.approx(oracle, abs=1e-5)
    oracle = spearmanr(VALUATIONS, poincare.radius(points).numpy()).statistic
    assert result.radial_hierarchy == pytest.approx(oracle, abs=1e-4)


def test_only_encoder_a_its_projection_and_the_decoder_count(random_state: RandomState) -> None:
    state = identity_state(random_state)
    result = evaluate(state, IDENTITY, 0.95)
    unused = {n: v + 1 for n, v in state.items() if "_B." in n or "fc_logvar" in n}
    assert evaluate(state | unused, IDENTITY, 0.95) == result
    for block in ("encoder_A.fc_mu", "projection.proj_A", "decoder_A.decoder.2"):
        moved = {n: -v for n, v in state.items() if n.startswith(block)}
        assert evaluate(state | moved, IDENTITY, 0.95) != result
    assert evaluate(state, IDENTITY, 0.5) != result


def test_the_same_weights_give_the_same_numbers(random_state: RandomState) -> None:
    state = random_state()
    torch.manual_seed(1)
    before = torch.get_rng_state()
    result = evaluate(state, PUBLISHED, 0.95)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    uniform_pairs.cache_clear()
    assert evaluate(state, PUBLISHED, 0.95) == result
    assert abs(result.radial_hierarchy) > 1e-4 < abs(result.distance_correlation)


@given(st.integers(0, 2**32 - 1), st.sampled_from([2, 5, 200]))
@settings(max_examples=10)
def test_ties_have_their_mean_rank(seed: int, levels: int) -> None:
    norms = torch.from_numpy(np.random.default_rng(seed).integers(1, levels, N_OPERATIONS) / levels)
    points = torch.nn.functional.pad(norms.float().unsqueeze(1), (2, 13))
    with np.errstate(invalid="ignore"):
        oracle = spearmanr(VALUATIONS, norms).statistic if levels > 2 else 0
    assert radial_hierarchy(points) == pytest.approx(oracle, abs=1e-9)


def test_pairs_are_the_same_on_every_machine() -> None:
    """Pinned: a change here changes the labels of every library."""
    pairs, _ = uniform_pairs()
    assert pairs[:, :3].tolist() == [[18734, 5952, 3134], [7116, 3031, 10359]]


@pytest.mark.parametrize("slope", [0.08, 0.0])
def test_sampling_error_is_below_0_005(slope: float) -> None:
    """The fixed pairs against a dozen other draws."""
    decay = 0.6 ** torch.arange(9.0)
    mix = torch.randn(9, 16, generator=torch.Generator().manual_seed(0))
    points = torch.nn.functional.normalize((all_operations() + 0.1) * decay @ mix, dim=-1)
    points = points * torch.from_numpy(0.85 - slope * VALUATIONS).float().unsqueeze(1)
    values = []
    for seed in range(12):
        generator = torch.Generator().manual_seed(seed)
        i = torch.randint(N_OPERATIONS, (N_PAIRS,), generator=generator)
        j = (i + torch.randint(1, N_OPERATIONS, (N_PAIRS,), generator=generator)) % N_OPERATIONS
        apart = poincare.distance(points[i], points[j])
        values.append(pearsonr(apart.numpy(), target_distance(i, j).numpy()).statistic)
    assert np.std(values, ddof=1) < 0.005
    assert abs(distance_correlation(points) - np.mean(values)) < 0.01


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_broken_weights_are_not_labelled_zero(random_state: RandomState, bad: float) -> None:
    state = random_state()
    state["encoder_A.fc_mu.bias"][0] = bad
    with pytest.raises(ValueError, match="expected parameters that give finite embeddings"):
        evaluate(state, PUBLISHED, 0.95)
