"""What is scored of one checkpoint, before anything is averaged."""

import numpy as np
import pytest
import torch

from epsvae.subjects.ternary import METRIC_NAMES, poincare
from epsvae.subjects.ternary.map.data import run_mean, runs_of
from epsvae.subjects.ternary.map.prediction import Prediction
from epsvae.subjects.ternary.map.scores import absolute_errors, score

pytestmark = pytest.mark.numbers


@pytest.fixture
def mean(data):
    return run_mean(data.train.embeddings, runs_of(data.train)).astype("f4")


def test_a_perfect_prediction(data, mean):
    scores = score(Prediction(data.test.embeddings, data.test.metrics), data.test, mean)
    assert not scores.embedding["squared_error"].any()
    np.testing.assert_allclose(scores.embedding["cosine"], 1)
    np.testing.assert_allclose(scores.embedding["poincare_error"], 0, atol=1e-3)
    assert not any(error.any() for error in absolute_errors(scores).values())
    assert list(scores.runs) == list(runs_of(data.test))


def test_the_mean_scores_as_itself(data, mean):
    tiled = np.tile(mean, (len(data.test.metrics), 1, 1))
    scores = score(Prediction(tiled, data.test.metrics), data.test, mean).embedding
    np.testing.assert_allclose(scores["squared_error"], scores["mean_squared_error"])
    np.testing.assert_allclose(scores["cosine"], scores["mean_cosine"])


def test_scores_are_those_of_their_formulas(data, mean):
    guess = 0.9 * data.test.embeddings[:, ::-1].copy()
    scores = score(Prediction(guess, data.test.metrics), data.test, mean).embedding
    for i, (a, b) in enumerate(zip(guess.astype("f8"), data.test.embeddings, strict=True)):
        assert scores["squared_error"][i] == pytest.approx(((a - b) ** 2).sum(), rel=1e-5)
        cosine = (a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)
        assert scores["cosine"][i] == pytest.approx(cosine, abs=1e-6)
        distance = poincare.distance(torch.tensor(a), torch.tensor(b).double()).mean().item()
        assert scores["poincare_error"][i] == pytest.approx(distance, rel=1e-3)


def test_predictions_outside_the_ball_have_a_finite_distance(data, mean):
    """Linear rows know of no ball; their error is counted from its edge."""
    scores = score(Prediction(50 * data.test.embeddings, data.test.metrics), data.test, mean)
    assert np.isfinite(scores.embedding["poincare_error"]).all()
    np.testing.assert_allclose(scores.embedding["cosine"], 1, atol=1e-6)


def test_a_zero_prediction_has_cosine_zero(data, mean):
    scores = score(
        Prediction(np.zeros_like(data.test.embeddings), data.test.metrics), data.test, mean
    )
    assert not scores.embedding["cosine"].any()


def test_no_embeddings_is_not_the_same_as_zero(data, mean):
    scores = score(Prediction(None, data.test.metrics + 0.25), data.test, mean)
    assert scores.embedding == {}
    errors = absolute_errors(scores)
    assert list(errors) == list(METRIC_NAMES)
    for error in errors.values():
        np.testing.assert_allclose(error, 0.25)
