"""Rows that run the network: on the 256 anchors, or on everything."""

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from epsvae.subjects.ternary import (
    VALUATION_COUNTS,
    Architecture,
    decode,
    encode,
    operation_trits,
    operation_valuations,
    project,
    target_distance,
)
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.library.layout import all_layout
from epsvae.subjects.ternary.map.data import MapData, all_weights
from epsvae.subjects.ternary.map.prediction import BATCH, Prediction
from epsvae.subjects.ternary.map.sweep import pairwise_distances
from research.rows.row import Predictor


def full_evaluation(data: MapData) -> Predictor:
    """All 19,683 operations through every checkpoint: exact, since it is the definition."""
    return lambda split: Prediction(split.embeddings[:], split.metrics[:])


def anchors_by_inference(data: MapData) -> Predictor:
    """The anchors through every checkpoint: embeddings are exact, metrics are estimates.

    Anchors are a stratified sample of the operations. An anchor stands for as many operations as
    its valuation has for each of its anchors, and a pair for as many pairs.
    """

    @torch.no_grad()
    def predict(split: ExtractedSplit) -> Prediction:
        estimate, trits = Estimator(split.anchors), operation_trits(split.anchors)
        points, metrics = [], []
        for start in range(0, len(split.metrics), BATCH):
            vectors = all_weights(split, slice(start, start + BATCH))
            found, reconstructed = run_anchors(vectors, split.architecture, trits)
            points.append(found.numpy())
            metrics.append(estimate(found, reconstructed).numpy())
        return Prediction(np.concatenate(points), np.concatenate(metrics))

    return predict


def run_anchors(
    vectors: Float[Tensor, "n weights"],
    architecture: Architecture,
    trits: Float[Tensor, "anchors 9"],
) -> tuple[Float[Tensor, "n anchors dim"], Bool[Tensor, "n anchors"]]:
    """Embeddings of the anchors, and which of them each checkpoint reconstructs."""
    state = all_layout(architecture).unflatten(vectors)
    mu = encode(state, architecture, trits.expand(len(vectors), -1, -1))
    points = project(state, architecture, mu, vectors[:, -1].view(-1, 1, 1))
    logits = decode(state, architecture, mu)
    return points, (logits.argmax(-1) == trits + 1).all(-1)


class Estimator:
    """Metrics over all operations, estimated from a sample stratified by valuation."""

    def __init__(self, anchors: Int[Tensor, "anchors"]) -> None:
        valuations = operation_valuations()[anchors]
        sizes = torch.bincount(valuations, minlength=len(VALUATION_COUNTS)).double()
        counts = torch.tensor(VALUATION_COUNTS).double()
        self.valuations = valuations.double()
        self.weights = (counts / sizes)[valuations]
        i, j = torch.triu_indices(len(anchors), len(anchors), 1)
        self.target = target_distance(anchors[i], anchors[j]).double()
        # Two anchors of one valuation are a sample without replacement of that valuation's pairs.
        same = ((counts - 1) / (sizes - 1).clamp_min(1))[valuations] * self.weights
        of_one = valuations[i] == valuations[j]
        self.pair_weights = torch.where(of_one, same[i], self.weights[i] * self.weights[j])

    def __call__(
        self, points: Float[Tensor, "n anchors dim"], reconstructed: Bool[Tensor, "n anchors"]
    ) -> Float[Tensor, "n 3"]:
        """Coverage, distance correlation and radial hierarchy of each checkpoint."""
        coverage = reconstructed.double() @ self.weights / self.weights.sum()
        distances = pairwise_distances(points).double()
        correlation = _pearson(distances, self.target.expand_as(distances), self.pair_weights)
        radii, valuations = points.norm(dim=-1).double(), self.valuations.expand(len(points), -1)
        hierarchy = _pearson(self._ranks(radii), self._ranks(valuations), self.weights)
        return torch.stack([coverage, correlation, hierarchy], dim=1)

    def _ranks(self, values: Float[Tensor, "n anchors"]) -> Float[Tensor, "n anchors"]:
        """Estimated middle rank of each value among all operations."""
        below = (values[:, None, :] < values[:, :, None]).double() @ self.weights
        equal = (values[:, None, :] == values[:, :, None]).double() @ self.weights
        return below + equal / 2


def _pearson(
    x: Float[Tensor, "n k"], y: Float[Tensor, "n k"], weights: Float[Tensor, "k"]
) -> Float[Tensor, "n"]:
    """Weighted Pearson correlation of each row; 0 where one side is constant."""
    share = weights / weights.sum()
    x, y = x - (x @ share)[:, None], y - (y @ share)[:, None]
    scale = ((x.square() @ share) * (y.square() @ share)).sqrt()
    return torch.where(scale > 0, (x * y) @ share / scale, 0.0)
