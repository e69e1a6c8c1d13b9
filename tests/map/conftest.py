"""Splits made of numbers, a small trained library, and the symmetries of a checkpoint's weights."""

import resource
import signal
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from epsvae.subjects.ternary import METRIC_NAMES, Architecture, embed, operation_trits
from epsvae.subjects.ternary.library import (
    ExtractedSplit,
    all_layout,
    anchor_operations,
    extract_library,
    key_layout,
)
from epsvae.subjects.ternary.map.data import MapData, load_map_data
from epsvae.subjects.ternary.map.release import open_release
from research.ternary import build_libraries
from research.ternary.recipes import BaseRecipe, draw_recipe

REFERENCE = Path(__file__).resolve().parents[2] / "data" / "reference"
SMALL = Architecture(encoder_widths=(12, 8), latent_dim=4, decoder_widths=(6,), projection_hidden=8)
MEDIUM = Architecture(encoder_widths=(64, 32), decoder_widths=(64,), projection_hidden=16)
"""Small enough to train in a second, large enough to reconstruct every operation."""


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


def _permuted(state, architecture, seed=0):
    """The same function: hidden units of every layer in another order."""
    generator = torch.Generator().manual_seed(seed)
    new = {name: tensor.clone() for name, tensor in state.items()}
    for unit_names, reader_names in _hidden(architecture):
        order = torch.randperm(len(new[unit_names[0]]), generator=generator)
        for name in unit_names:
            new[name] = new[name][order]
        for name in reader_names:
            new[name] = new[name][:, order]
    return new


def _rescaled(state, architecture, seed=0):
    """The same function: ReLU units made larger or smaller, what reads them the other way round."""
    generator = torch.Generator().manual_seed(seed)
    new = {name: tensor.clone() for name, tensor in state.items()}
    for unit_names, reader_names in _hidden(architecture):
        if "projection" in unit_names[0]:
            continue  # LayerNorm and SiLU are not positively homogeneous
        factors = 0.5 + 1.5 * torch.rand(len(new[unit_names[0]]), generator=generator)
        for name in unit_names:
            new[name] = new[name] * (factors[:, None] if new[name].dim() == 2 else factors)
        for name in reader_names:
            new[name] = new[name] / factors
    return new


def _hidden(architecture):
    """(parameters with a row a unit, matrices with a column a unit) of every hidden layer."""
    for block in ("encoder_A", "encoder_B", "decoder_A", *architecture.projections):
        names = [name for name, *_ in architecture.linears(block)]
        if block.startswith("projection"):
            nets = [[n for n in names if net in n] for net in ("direction_net", "radius_net")]
            norms = [name for name, _ in architecture.norms(block)]
        else:
            nets, norms = [names], []
        for chain in nets:
            heads = 2 if block.startswith("encoder") else 1
            hidden = chain[:-heads]
            for i, name in enumerate(hidden):
                readers = [chain[i + 1]] if i + 1 < len(hidden) else chain[-heads:]
                own = [name, norms[i]] if "direction_net" in name else [name]
                units = [f"{n}.{kind}" for n in own for kind in ("weight", "bias")]
                yield units, [f"{reader}.weight" for reader in readers]


def _medium_recipes(*n_runs: int, library: str = "medium"):
    """Runs of the medium architecture; half of them are frozen, half release encoder A."""
    recipes = []
    base = BaseRecipe(architecture=MEDIUM, lr=1e-2, target_coverage=0.95)
    rng = np.random.default_rng(0)
    splits = np.repeat(("train", "validation", "test"), n_runs).tolist()
    for started, split in enumerate(splits):
        regime = ("frozen", "homeostatic")[started % 2]
        fields = {"lr": float(rng.uniform(3e-3, 8e-3)), "epochs": 2, "n_checkpoints": 4}
        if regime == "homeostatic":
            fields |= {"encoder_a_lr_scale": float(rng.uniform(1, 3)), "coverage_floor": 0.0}
        named = {"name": f"{library}-{started:02d}", "library": library, "started": started}
        recipes.append(draw_recipe(regime, rng, split=split, base=base, **named, **fields))
    return recipes


@pytest.fixture(scope="session")
def make_split():
    """(runs, per_run, seed, architecture) -> a split of random networks and random metrics."""
    return _make_split


@pytest.fixture(scope="session")
def data(make_split):
    """Three splits of random small networks: eight, three and four runs."""
    names = [f"run-{i:02d}" for i in range(15)]
    parts = (names[:8], names[8:11], names[11:])
    return MapData(*(make_split(runs, seed=seed) for seed, runs in enumerate(parts)))


@pytest.fixture(scope="session")
def small():
    """An architecture of a few hundred parameters."""
    return SMALL


@pytest.fixture(scope="session")
def medium():
    """The architecture of the trained library."""
    return MEDIUM


@pytest.fixture(scope="session")
def permute():
    """(state, architecture, seed) -> the same function with its hidden units in another order."""
    return _permuted


@pytest.fixture(scope="session")
def rescale():
    """(state, architecture, seed) -> the same function with its ReLU units rescaled."""
    return _rescaled


@pytest.fixture(scope="session")
def full_disk():
    """() -> a context in which no file can grow beyond a kilobyte: the kernel's own refusal."""

    @contextmanager
    def fill():
        ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, ignored)

    return fill


@pytest.fixture(scope="session")
def release():
    """The reference release."""
    return open_release(REFERENCE)


@pytest.fixture(scope="session")
def trained(tmp_path_factory) -> MapData:
    """A library out of the factory: ten training, two validation and three test runs."""
    root = tmp_path_factory.mktemp("trained")
    build_libraries(root / "library", _medium_recipes(10, 2, 3), n_jobs=1)
    index = pd.read_parquet(root / "library" / "index.parquet")
    extract_library(index, root / "library", root / "arrays")
    return load_map_data(root / "arrays")
