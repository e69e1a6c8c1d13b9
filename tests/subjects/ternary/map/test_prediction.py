"""One vector or a batch: every map answers in the rank in which it was asked."""

import numpy as np
import pytest
import torch

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.layout import key_layout
from epsvae.subjects.ternary.map import prediction
from epsvae.subjects.ternary.map.data import all_weights, key_weights
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.prediction import CheckpointMap, predict_split
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE

pytestmark = pytest.mark.numbers


@pytest.fixture(scope="module", params=["default", "seed"])
def model(request, small):
    """A small map of each kind, with parameters at random."""
    torch.manual_seed(0)
    if request.param == "default":
        config = MapConfig(latent_dim=12, n_probes=6, embedding_dim=4, architecture=small)
        return EpsilonVAE(config).eval()
    n = key_layout(small).n_weights
    return SeedVAE(SeedConfig(latent=12, hidden=(16, 16), n_weights=n, dim=4)).eval()


def test_every_map_is_a_checkpoint_map(model):
    assert isinstance(model, CheckpointMap)


@pytest.mark.parametrize("batch", [(), (1,), (5,), (2, 3)])
@torch.no_grad()
def test_outputs_have_the_matching_rank(model, data, batch):
    n = int(np.prod(batch))
    z = model.encode(key_weights(data.train, slice(n)).view(*batch, -1))
    assert z.shape == (*batch, 12)
    assert model.decode_embeddings(z).shape == (*batch, 256, 4)
    assert model.predict_metrics(z).shape == (*batch, len(METRIC_NAMES))
    mean, logvar = model.posterior(key_weights(data.train, slice(n)).view(*batch, -1))
    assert torch.equal(mean, z)
    assert logvar.shape == z.shape


@torch.no_grad()
def test_a_batch_is_its_rows(model, data):
    rows = key_weights(data.train, slice(4))
    z = model.encode(rows)
    torch.testing.assert_close(z, torch.stack([model.encode(row) for row in rows]))
    for ask in (model.decode_embeddings, model.predict_metrics):
        torch.testing.assert_close(ask(z), torch.stack([ask(one) for one in z]))


@pytest.mark.parametrize("batch", [(), (2,), (2, 3)])
def test_vectors_of_another_length_are_refused(model, small, batch):
    wanted = key_layout(small).n_weights
    with pytest.raises(ValueError, match=f"expected {wanted} key weights .*found 7$"):
        model.encode(torch.zeros(*batch, 7))


def test_encoding_twice_gives_the_same(model, data):
    """z is the posterior's mean: nothing is sampled."""
    row = key_weights(data.train, [0])[0]
    assert torch.equal(model.encode(row), model.encode(row))


@pytest.mark.parametrize("batch", [1, 5, 64])
def test_a_split_is_predicted_in_its_order(model, data, monkeypatch, batch):
    monkeypatch.setattr(prediction, "BATCH", batch)
    found = predict_split(model, data.test)
    with torch.no_grad():
        z = model.encode(key_weights(data.test))
        np.testing.assert_allclose(found.embeddings, model.decode_embeddings(z), atol=1e-5)
        np.testing.assert_allclose(found.metrics, model.predict_metrics(z), atol=1e-5)


def test_the_reader_decides_what_is_seen(data, small):
    model = EpsilonVAE(MapConfig(latent_dim=12, n_probes=6, embedding_dim=4, architecture=small))
    seen = [predict_split(model.eval(), data.test, read) for read in (key_weights, all_weights)]
    assert not np.allclose(seen[0].metrics, seen[1].metrics)


def test_a_model_without_decoder(data, small):
    n = key_layout(small).n_weights
    model = SeedVAE(SeedConfig(hybrid=False, hidden=(16, 16), n_weights=n)).eval()
    assert predict_split(model, data.test, embeddings=False).embeddings is None
    with pytest.raises(EpsvaeError, match="expected a hybrid model, found metrics-only"):
        predict_split(model, data.test)
