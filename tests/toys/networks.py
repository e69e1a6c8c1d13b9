"""Fixtures of small ternary networks: states, their symmetries, splits, and the reference release.

A plugin that `tests/conftest.py` loads, because several rooms share it.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from epsvae.subjects.ternary import (
    METRIC_NAMES,
    PUBLISHED,
    Architecture,
    embed,
    init_state,
    operation_trits,
)
from epsvae.subjects.ternary.library import (
    ExtractedSplit,
    all_layout,
    anchor_operations,
    key_layout,
)
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.map.release import open_release
from research.trust import audit

REFERENCE = Path(__file__).resolve().parents[2] / "data" / "reference"
SMALL = Architecture(encoder_widths=(12, 8), latent_dim=4, decoder_widths=(6,), projection_hidden=8)
MEDIUM = Architecture(encoder_widths=(64, 32), decoder_widths=(64,), projection_hidden=16)
"""Small enough to train in a second, large enough to reconstruct every operation."""


def _random_state(architecture: Architecture = PUBLISHED, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(shape, generator=generator) * 1.5 * shape[-1] ** -0.5
        for name, shape in architecture.shapes().items()
    }


def _make_state(architecture: Architecture = SMALL, seed: int = 0) -> dict:
    generator = torch.Generator().manual_seed(seed)
    state = init_state(architecture, generator)
    return {name: t + 0.1 * torch.randn(t.shape, generator=generator) for name, t in state.items()}


def _make_split(
    runs: Sequence[str], per_run: int = 3, seed: int = 0, architecture: Architecture = SMALL
) -> ExtractedSplit:
    rng = np.random.default_rng(seed)
    layout, n = all_layout(architecture), len(runs) * per_run
    vectors = torch.from_numpy(rng.normal(0, 0.3, (n, layout.n_weights)).astype("f4"))
    vectors[:, -1] = torch.from_numpy(rng.uniform(0.85, 0.95, n).astype("f4"))
    anchors = anchor_operations()
    trits = operation_trits(anchors).expand(n, -1, -1)
    state = layout.unflatten(vectors)
    metrics = np.column_stack([rng.uniform(0, 1, n), rng.uniform(-1, 1, (n, 2))])
    index = pd.DataFrame({"run": np.repeat(list(runs), per_run), "regime": "frozen"})
    index = index.assign(split="train", epoch=np.tile(np.arange(1.0, per_run + 1), len(runs)))
    return ExtractedSplit(
        weights=vectors[:, : key_layout(architecture).n_weights].numpy(),
        rest=vectors[:, key_layout(architecture).n_weights :].numpy(),
        embeddings=embed(state, architecture, trits, vectors[:, -1].view(-1, 1, 1)).numpy(),
        metrics=metrics,
        index=index.assign(**dict(zip(METRIC_NAMES, metrics.T, strict=True))),
        anchors=anchors,
        architecture=architecture,
    )


@pytest.fixture(scope="session")
def small():
    """An architecture of a few hundred parameters."""
    return SMALL


@pytest.fixture(scope="session")
def medium():
    """The architecture of the trained library."""
    return MEDIUM


@pytest.fixture(scope="session")
def random_state():
    """(architecture, seed) -> a state in general position: every parameter, also those of norms."""
    return _random_state


@pytest.fixture(scope="session")
def make_state():
    """(architecture, seed) -> a fresh state, moved so that nothing in it is zero."""
    return _make_state


@pytest.fixture(scope="session")
def permute():
    """(state, architecture, seed) -> the same function with its hidden units in another order."""
    return lambda state, architecture, seed=0: audit.permute(
        state, architecture, torch.Generator().manual_seed(seed)
    )


@pytest.fixture(scope="session")
def rescale():
    """(state, architecture, seed) -> the same function with its ReLU units rescaled."""
    return lambda state, architecture, seed=0: audit.rescale(
        state, architecture, torch.Generator().manual_seed(seed)
    )


@pytest.fixture(scope="session")
def make_split():
    """(runs, per_run, seed, architecture) -> a split of random networks and random metrics."""
    return _make_split


@pytest.fixture(scope="session")
def data():
    """Three splits of random small networks: eight, three and four runs."""
    names = [f"run-{i:02d}" for i in range(15)]
    parts = (names[:8], names[8:11], names[11:])
    return MapData(*(_make_split(runs, seed=seed) for seed, runs in enumerate(parts)))


@pytest.fixture(scope="session")
def release():
    """The reference release."""
    return open_release(REFERENCE)
