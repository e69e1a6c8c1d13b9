"""A map of small networks that several uses are tried on."""

import pytest
import torch

from epsvae.subjects.ternary import Architecture, init_state
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.weights_out import WeightDecoderConfig

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)


@pytest.fixture(scope="session")
def small_map():
    """``small_map(spread)``: its weight decoder moves a fresh network about, by `spread`."""

    def make(spread=None):
        with torch.random.fork_rng():
            torch.manual_seed(0)
            config = MapConfig(
                latent_dim=12,
                n_probes=6,
                architecture=SMALL,
                weight_decoder=WeightDecoderConfig(hidden=16, rank=3),
            )
            model = EpsilonVAE(config)
            if spread is not None:
                torch.nn.init.normal_(model.weight_decoder.head.weight, std=spread)
        state = init_state(SMALL, torch.Generator().manual_seed(0))
        state[MAX_RADIUS] = torch.tensor([0.9])
        model.weight_decoder.reference.copy_(all_layout(SMALL).flatten(state))
        return model.eval().requires_grad_(False)

    return make
