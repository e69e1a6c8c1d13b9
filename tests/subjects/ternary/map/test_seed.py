"""The seed's model: the sizes, the loss and the recipe of its document, to the letter."""

import pytest
import torch
from torch import nn

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE, seed_loss

pytestmark = pytest.mark.numbers


def sizes(module):
    """(fan in, fan out) of every linear layer, in order."""
    return [(m.in_features, m.out_features) for m in module.modules() if isinstance(m, nn.Linear)]


@pytest.fixture(scope="module")
def model():
    """The whole model without its 200 MB: shapes only."""
    with torch.device("meta"):
        return SeedVAE(SeedConfig()).eval()


ENCODER = [(95_808, 512), (512, 512), (512, 256), (256, 2 * 64)]
DECODER = [(64, 256), (256, 512), (512, 512), (512, 4096)]
HEAD = [(64, 128), (128, 64), (64, 3)]


def test_shapes(model):
    assert sizes(model.encoder) == ENCODER
    assert sizes(model.decoder) == DECODER
    assert sizes(model.metric_head) == HEAD


def test_parameter_count(model):
    linear = sum(a * b + b for a, b in ENCODER + DECODER + HEAD)
    norms = 2 * sum(b for chain in (ENCODER, DECODER, HEAD) for _, b in chain[:-1])
    assert sum(p.numel() for p in model.parameters()) == linear + norms == 52_015_491


def test_hidden_layers_are_normalised_and_dropped_out(model):
    for part, n_hidden, n_dropout in ((model.encoder, 3, 2), (model.decoder, 3, 2)):
        kinds = [type(m) for m in part.modules()]
        assert kinds.count(nn.LayerNorm) == kinds.count(nn.GELU) == n_hidden
        assert kinds.count(nn.Dropout) == n_dropout
    assert {m.p for m in model.modules() if isinstance(m, nn.Dropout)} == {0.1}


def test_the_recipe():
    config = SeedConfig()
    assert (config.lr, config.weight_decay) == (1e-4, 0.01)
    assert (config.epochs, config.batch_size) == (200, 32)
    assert (config.lambda_metric, config.beta, config.clip) == (0.1, 0.001, 1.0)


@pytest.mark.parametrize("batch", [(), (4,)])
def test_outputs_of_the_whole_model(model, batch):
    z = model.encode(torch.empty(*batch, 95_808, device="meta"))
    assert z.shape == (*batch, 64)
    assert model.decode_embeddings(z).shape == (*batch, 256, 16)
    assert model.predict_metrics(z).shape == (*batch, 3)


def test_the_old_model_is_the_same_encoder_without_decoder(model):
    with torch.device("meta"):
        old = SeedVAE(SeedConfig(hybrid=False))
    assert sizes(old.encoder) == ENCODER
    assert sizes(old.metric_head) == HEAD
    assert old.decoder is None
    with pytest.raises(EpsvaeError, match="expected a hybrid model, found metrics-only"):
        old.decode_embeddings(torch.zeros(64))


TINY = SeedConfig(latent=4, hidden=(8,), decoder_hidden=(8,), n_weights=20, n_anchors=5, dim=3)


@pytest.fixture
def batch():
    """Weights, embeddings and metrics of six checkpoints."""
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(6, *shape, generator=generator) for shape in ((20,), (5, 3), (3,))]


def test_the_loss_is_that_of_the_document(batch):
    torch.manual_seed(0)
    model = SeedVAE(TINY).eval()
    weights, embeddings, metrics = batch
    mu, logvar = model.posterior(weights)
    loss = seed_loss(model, (mu, logvar), embeddings, metrics)
    embedding = (model.decode_embeddings(mu) - embeddings).square().mean()
    metric = (model.predict_metrics(mu) - metrics).square().mean()
    kl = -0.5 * (1 + logvar - mu.square() - logvar.exp()).mean()
    torch.testing.assert_close(loss.total(TINY), embedding + 0.1 * metric + 0.001 * kl)
    torch.testing.assert_close(loss.prediction(TINY), embedding + 0.1 * metric)


def test_the_old_loss_weighs_metrics_in_full(batch):
    config = SeedConfig(hybrid=False, latent=4, hidden=(8,), n_weights=20)
    model = SeedVAE(config).eval()
    weights, embeddings, metrics = batch
    loss = seed_loss(model, model.posterior(weights), embeddings, metrics)
    assert loss.embedding == 0
    assert loss.prediction(config) == loss.metric


def test_no_divergence_from_the_prior_itself(batch):
    zeros = torch.zeros(6, 4)
    assert seed_loss(SeedVAE(TINY).eval(), (zeros, zeros), *batch[1:]).kl == 0


def test_z_is_sampled_in_training_and_not_otherwise(batch):
    torch.manual_seed(0)
    model = SeedVAE(SeedConfig(**{**TINY.__dict__, "dropout": 0.0}))
    posterior = torch.zeros(6, 4), torch.zeros(6, 4)
    losses = [seed_loss(model.train(), posterior, *batch[1:]).metric for _ in range(2)]
    assert losses[0] != losses[1]
    losses = [seed_loss(model.eval(), posterior, *batch[1:]).metric for _ in range(2)]
    assert losses[0] == losses[1]
