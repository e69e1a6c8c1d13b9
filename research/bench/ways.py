"""Ways of knowing what a checkpoint does, from a constant to running the network on everything."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from epsvae.subjects.ternary import (
    Architecture,
    all_operations,
    evaluate,
    operation_trits,
)
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.layout import all_layout, key_layout
from epsvae.subjects.ternary.map.data import MapData, run_mean, runs_of
from epsvae.subjects.ternary.map.fit import fit_map
from epsvae.subjects.ternary.map.model import MapConfig
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE
from epsvae.subjects.ternary.metrics import uniform_pairs
from epsvae.subjects.ternary.network import State
from research.rows.baselines import TREES, best_forest
from research.rows.function import Estimator, run_anchors
from research.rows.weights import best_slope, ridge_on_weights, weight_space
from research.statistics import layer_statistics

READING = "reading the weights once"
EVALUATION = "full evaluation"
FLAT = "flat encoder"
ANCHORS_AT_ONCE = 8
"""Checkpoints whose anchors are run at a time: few enough to stay in a core's caches."""

Ask = Callable[[Tensor], Tensor]
"""All parameters of n checkpoints, as `all_layout` orders them, to something about each."""


@dataclass(frozen=True, eq=False)
class Way:
    """One way of knowing. It is asked on one thread and without gradients."""

    name: str
    access: str
    """What it may see of a checkpoint, as in the validation table."""
    metrics: Ask
    """To (n, 3), in the order of `METRIC_NAMES`."""
    embeddings: Ask | None = None
    """To (n, anchors, dim); None for a way that does not give them."""
    predictor: object = None
    """What must be kept to answer; its size on disk is part of the price."""
    scored: bool = True
    """Whether its answers are to be held against the truth: not those of an untrained model."""


def ways_of_knowing(data: MapData, probes: Sequence[int]) -> Iterator[Way]:
    """Every way, fitted on the training runs; a map for each number of probes."""
    architecture = data.train.architecture
    yield Way(READING, "nothing", lambda weights: weights.sum(), scored=False)
    yield training_mean(data)
    yield trees_on_statistics(data)
    yield ridge_on_key_weights(data)
    yield flat_encoder(data)
    for n_probes in probes:
        yield closed_form_map(data, n_probes)
    yield anchors(data)
    yield full_evaluation(architecture)


def training_mean(data: MapData) -> Way:
    """The run-balanced mean of the training checkpoints: a constant."""
    runs = runs_of(data.train)
    means = [run_mean(part[:], runs) for part in (data.train.metrics, data.train.embeddings)]
    metrics, points = (torch.from_numpy(mean).float() for mean in means)
    return Way(
        "training mean",
        "nothing",
        lambda weights: metrics.expand(len(weights), -1),
        lambda weights: points.expand(len(weights), -1, -1),
        (metrics, points),
    )


def trees_on_statistics(data: MapData) -> Way:
    """Extremely randomised trees on layer statistics of the key weights; metrics only."""
    layout = key_layout(data.train.architecture)
    known, held_out = (
        (layer_statistics(split.weights, layout), split.metrics[:])
        for split in (data.train, data.validation)
    )
    forest = best_forest(known, held_out, TREES, seed=0)

    def metrics(weights: Tensor) -> Tensor:
        key_weights = weights[:, : layout.n_weights].numpy()
        return torch.from_numpy(forest.predict(layer_statistics(key_weights, layout)))

    return Way("statistics, ExtraTrees", "statistics", metrics, predictor=forest)


def ridge_on_key_weights(data: MapData) -> Way:
    """Ridge regression on flat key weights.

    Metrics are three inner products with the weights. Embeddings would need 4,096 of them; through
    inner products with the training checkpoints, which must then be kept, they need fewer.
    """
    n_key = key_layout(data.train.architecture).n_weights
    slopes, intercept = metric_slopes(data)
    through_training = ridge_on_weights(data)

    def embeddings(weights: Tensor) -> Tensor:
        return torch.from_numpy(through_training(_unknown(weights, data.test)).embeddings)

    return Way(
        "ridge on key weights",
        "key weights",
        lambda weights: F.linear(weights[:, :n_key], slopes, intercept),
        embeddings,
        (slopes, intercept),
    )


def _unknown(weights: Float[Tensor, "n weights"], like: ExtractedSplit) -> ExtractedSplit:
    """Checkpoints of which only the weights are known, as a split: zeros elsewhere."""
    n_key = like.weights.shape[1]
    points, metrics = (
        np.broadcast_to(array.dtype.type(0), (len(weights), *array.shape[1:]))
        for array in (like.embeddings, like.metrics)
    )
    key, rest = weights[:, :n_key].numpy(), weights[:, n_key:].numpy()
    nobody = like.index.iloc[:0]
    return ExtractedSplit(key, rest, points, metrics, nobody, like.anchors, like.architecture)


def metric_slopes(data: MapData) -> tuple[Float[Tensor, "3 weights"], Float[Tensor, "3"]]:
    """The metrics of `ridge_on_weights` folded into one matrix: it is linear in the weights.

    A regression that is solved in the space of the training checkpoints need not be asked there.
    """
    train, validation, n = data.train, data.validation, len(data.train.metrics)
    space = weight_space(train)
    slope, mean = best_slope(space, train.metrics[:], validation, validation.metrics[:], n)
    slopes = (space.basis @ slope / space.scale).T @ (train.weights[:] - space.centre)
    intercept = mean - slopes @ space.centre
    return torch.from_numpy(slopes).float(), torch.from_numpy(intercept).float()


def flat_encoder(data: MapData) -> Way:
    """The seed's hybrid. Not trained here: time and size of a network do not depend on that."""
    n_key = key_layout(data.train.architecture).n_weights
    _, n_anchors, dim = data.train.embeddings.shape
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = SeedVAE(SeedConfig(n_weights=n_key, n_anchors=n_anchors, dim=dim)).eval()
    return Way(
        FLAT,
        "key weights",
        lambda weights: model.predict_metrics(model.encode(weights[:, :n_key])),
        lambda weights: model.decode_embeddings(model.encode(weights[:, :n_key])),
        model,
        scored=False,
    )


def closed_form_map(data: MapData, n_probes: int) -> Way:
    """The default map with some number of probes, as `fit_map` gives it."""
    _, n_anchors, dim = data.train.embeddings.shape
    model = fit_map(
        data,
        MapConfig(
            n_probes=n_probes,
            n_anchors=n_anchors,
            embedding_dim=dim,
            architecture=data.train.architecture,
        ),
    )
    return Way(
        map_name(n_probes),
        "all weights",
        lambda weights: model.predict_metrics(model.encode(weights)),
        lambda weights: model.decode_embeddings(model.encode(weights)),
        model.requires_grad_(False),
    )


def map_name(n_probes: int) -> str:
    """What the map with so many probes is called."""
    return f"map, {n_probes} probes"


def anchors(data: MapData) -> Way:
    """The network, run on the anchors alone: embeddings are exact, metrics are estimates."""
    architecture, chosen = data.train.architecture, data.train.anchors
    trits, estimate = operation_trits(chosen), Estimator(chosen)

    def few_metrics(few: Tensor) -> Tensor:
        return estimate(*run_anchors(few, architecture, trits))

    def few_points(few: Tensor) -> Tensor:
        return run_anchors(few, architecture, trits)[0]

    return Way(
        f"{len(chosen)} anchors",
        "function",
        lambda weights: torch.cat([few_metrics(few) for few in weights.split(ANCHORS_AT_ONCE)]),
        lambda weights: torch.cat([few_points(few) for few in weights.split(ANCHORS_AT_ONCE)]),
        (trits, vars(estimate)),
    )


def full_evaluation(architecture: Architecture) -> Way:
    """The network, run on all operations: the metrics' definition."""

    def metrics(weights: Tensor) -> Tensor:
        state = all_layout(architecture).unflatten(weights)
        rows = (_one(state, i) for i in range(len(weights)))
        found = [evaluate(row, architecture, float(row["max_radius"])) for row in rows]
        return torch.from_numpy(np.stack([each.vector() for each in found]))

    return Way(EVALUATION, "function", metrics, predictor=(all_operations(), uniform_pairs()))


def _one(state: Mapping[str, Tensor], i: int) -> State:
    return {name: tensor[i] for name, tensor in state.items()}
