"""Extremely randomised trees (Geurts et al., 2006) as plain arrays, so that a map needs no pickle.

scikit-learn grows them; a few gathers ask them.
"""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

N_TREES = 100
SMALLEST_LEAF = 3
DEEPEST = 24


class Forest(nn.Module):
    """The mean of trees, in one array of nodes.

    The left child of a node is the next node, the right one lies `skip` nodes further; a leaf skips
    none.
    """

    feature: Tensor
    skip: Tensor
    number: Tensor
    """The threshold of a node, the value of a leaf."""
    roots: Tensor

    def __init__(self, n_nodes: int, n_trees: int = N_TREES) -> None:
        super().__init__()
        for name in ("feature", "skip"):
            self.register_buffer(name, torch.zeros(n_nodes, dtype=torch.int32))
        self.register_buffer("number", torch.zeros(n_nodes))
        self.register_buffer("roots", torch.zeros(n_trees, dtype=torch.int32))

    def forward(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n"]:
        """The mean of what the trees say of each row."""
        node = self.roots.long().expand(len(x), -1)
        for _ in range(DEEPEST):
            skip = self.skip[node]
            goes_left = x.gather(1, self.feature[node].long()) <= self.number[node]
            node = node + torch.where(goes_left, skip.clamp_max(1), skip)
        return self.number[node].mean(1)

    def fits(self, n_features: int) -> bool:
        """Do all places lie inside the arrays? What is read from a file may not."""
        n_nodes = len(self.number)
        ends = torch.arange(n_nodes) + self.skip
        return bool(
            ((self.skip >= 0) & (ends < n_nodes)).all()
            and ((self.roots >= 0) & (self.roots < n_nodes)).all()
            and ((self.feature >= 0) & (self.feature < n_features)).all()
        )


def grow_forest(
    x: Float[Tensor, "n features"], y: Float[Tensor, "n"], seed: int, n_trees: int = N_TREES
) -> Forest:
    """Grow trees on rows of features."""
    from sklearn.ensemble import ExtraTreesRegressor

    grown = ExtraTreesRegressor(
        n_trees, min_samples_leaf=SMALLEST_LEAF, max_depth=DEEPEST, random_state=seed
    ).fit(x.numpy(), y.double().numpy())
    trees = [tree.tree_ for tree in grown.estimators_]
    starts = np.cumsum([0] + [tree.node_count for tree in trees])
    forest = Forest(int(starts[-1]), len(trees))
    forest.roots.copy_(torch.from_numpy(starts[:-1]))
    for start, tree in zip(starts, trees, strict=False):
        rows = slice(int(start), int(start) + tree.node_count)
        leaf, own = tree.children_left < 0, np.arange(tree.node_count)
        if not (leaf | (tree.children_left == own + 1)).all():
            raise RuntimeError("scikit-learn: expected each left child next to its node")
        forest.skip[rows] = torch.from_numpy(np.where(leaf, 0, tree.children_right - own))
        forest.feature[rows] = torch.from_numpy(np.where(leaf, 0, tree.feature))
        values = tree.value[:, 0, 0].astype(np.float32)
        forest.number[rows] = torch.from_numpy(np.where(leaf, values, _below(tree.threshold)))
    return forest


def _below(thresholds: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """The largest float32 not above each: float32 features fall on the same sides of it."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
