"""Ridge regression: a linear law is found, and the strength is that of the validation rows."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from torch import nn

from epsvae.map.ridge import STRENGTHS, fit_ridge

pytestmark = pytest.mark.numbers


def problem(seed, n=30, features=50, targets=3, noise=0.0, n_validation=20):
    """Rows of a linear law with features of very different sizes, and a noise on the targets."""
    generator = torch.Generator().manual_seed(seed)
    slope = torch.randn(features, targets, generator=generator) / features**0.5
    sizes = 10 ** (4 * torch.rand(features, generator=generator) - 2)
    x = torch.randn(n + n_validation, features, generator=generator)
    y = x @ slope + 5.0 + noise * torch.randn(n + n_validation, targets, generator=generator)
    x = sizes * x + 3 * sizes
    return (x[:n], y[:n]), (x[n:], y[n:])


def fitted(train, validation, strengths=STRENGTHS):
    layer = nn.Linear(train[0].shape[1], train[1].shape[1])
    return layer, fit_ridge(layer, train, validation, strengths)


@given(st.integers(0, 1000))
def test_a_linear_law_is_recovered(seed):
    train, validation = problem(seed, n=80, features=10)
    layer, strength = fitted(train, validation)
    assert strength <= 1e-6
    torch.testing.assert_close(layer(validation[0]), validation[1], atol=1e-3, rtol=1e-3)


def test_it_is_the_ridge_of_scikit_learn():
    train, validation = problem(0, noise=0.5)
    layer, strength = fitted(train, validation, [0.1])
    assert strength == 0.1
    mean, std = train[0].mean(0), train[0].std(0)
    oracle = Ridge(alpha=0.1 * train[0].shape[1])  # ours is relative to the mean square
    oracle.fit(((train[0] - mean) / std).numpy(), train[1].numpy())
    wanted = oracle.predict(((validation[0] - mean) / std).numpy())
    np.testing.assert_allclose(layer(validation[0]).detach().numpy(), wanted, atol=2e-3)


@pytest.mark.parametrize("noise", [0.0, 0.3, 3.0])
def test_the_strength_is_the_best_on_validation(noise):
    train, validation = problem(1, noise=noise)
    _, chosen = fitted(train, validation)
    errors = {}
    for strength in STRENGTHS:
        layer, _ = fitted(train, validation, [strength])
        errors[strength] = (layer(validation[0]) - validation[1]).square().mean().item()
    assert errors[chosen] == pytest.approx(min(errors.values()), rel=1e-3)


def test_noise_asks_for_strength():
    chosen = [fitted(*problem(2, noise=noise))[1] for noise in (0.0, 10.0)]
    assert 10 * chosen[0] <= chosen[1]


def test_training_rows_alone_do_not_choose():
    """With other validation rows the same training rows give another strength."""
    train, _ = problem(3, noise=1.0)
    _, pure = problem(3)
    shuffled = pure[0], pure[1].flip(0)
    assert fitted(train, pure)[1] < fitted(train, shuffled)[1]


def test_a_feature_that_never_varies_does_no_harm():
    train, validation = problem(4, n=80, features=10)
    (x, y), (x_validation, y_validation) = train, validation
    x[:, 3], x_validation[:, 3] = 7.0, 7.0
    layer, _ = fitted((x, y), (x_validation, y_validation))
    assert layer.weight.isfinite().all()
    assert layer.weight[:, 3].abs().max() < 1e-3
