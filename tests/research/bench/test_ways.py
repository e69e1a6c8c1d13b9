"""Every way answers for each checkpoint, and for each alone what it says of it in a batch."""

import pytest
import torch

from epsvae.subjects.ternary.library.layout import key_layout
from epsvae.subjects.ternary.map.data import all_weights, embeddings_of, metrics_of
from research.bench.ways import READING, closed_form_map, metric_slopes, ways_of_knowing
from research.rows.weights import ridge_on_weights


@pytest.fixture(scope="module")
def ways(data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("research.bench.ways.TREES", 10)
        return {way.name: way for way in ways_of_knowing(data, (8,))}


@pytest.fixture(scope="module")
def weights(data):
    return all_weights(data.test)


def test_the_order_is_from_nothing_to_everything(ways):
    assert list(ways)[0] == READING
    assert [way.access for way in ways.values()] == [
        *("nothing", "nothing", "statistics", "key weights", "key weights", "all weights"),
        *("function", "function"),
    ]


@torch.no_grad()
def test_answers_are_about_one_checkpoint_each(ways, weights):
    for way in list(ways.values())[1:]:
        together = way.metrics(weights[:3])
        assert together.shape == (3, 3)
        alone = torch.cat([way.metrics(one) for one in weights[:3].split(1)])
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
        if way.embeddings is not None:
            assert way.embeddings(weights[:3]).shape == (3, 256, 16)


@torch.no_grad()
def test_running_the_network_is_exact(ways, weights, data):
    known = metrics_of(data.test)
    found = ways["full evaluation"].metrics(weights).float()
    torch.testing.assert_close(found, known, atol=1e-6, rtol=0)
    points = ways["256 anchors"].embeddings(weights)
    torch.testing.assert_close(points, embeddings_of(data.test), atol=1e-5, rtol=0)
    assert (ways["256 anchors"].metrics(weights) - known).abs().mean() < 0.1


def test_folding_a_regression_changes_no_answer(data, weights):
    slopes, intercept = metric_slopes(data)
    n_key = key_layout(data.test.architecture).n_weights
    folded = weights[:, :n_key] @ slopes.T + intercept
    wanted = torch.from_numpy(ridge_on_weights(data)(data.test).metrics).float()
    torch.testing.assert_close(folded, wanted, atol=2e-3, rtol=0)


@torch.no_grad()
def test_a_map_with_more_probes_is_another_map(data, weights):
    few, more = (closed_form_map(data, n) for n in (4, 12))
    assert few.name == "map, 4 probes"
    assert len(more.predictor.sweep.probes) == 12
    assert not torch.equal(few.metrics(weights), more.metrics(weights))
