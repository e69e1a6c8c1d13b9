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
    """The mean of trees, in one array of nodes; a leaf is its own child."""

    feature: Tensor
    threshold: Tensor
    left: Tensor
    right: Tensor
    value: Tensor
    roots: Tensor

    def __init__(self, n_nodes: int, n_trees: int = N_TREES) -> None:
        super().__init__()
        for name in ("feature", "left", "right"):
            self.register_buffer(name, torch.zeros(n_nodes, dtype=torch.int32))
        for name in ("threshold", "value"):
            self.register_buffer(name, torch.zeros(n_nodes))
        self.register_buffer("roots", torch.zeros(n_trees, dtype=torch.int32))

    def forward(self, x: Float[Tensor, "n features"]) -> Float[Tensor, "n"]:
        """The mean of what the trees say of each row."""
        node = self.roots.long().expand(len(x), -1)
        for _ in range(DEEPEST):
            goes_left = x.gather(1, self.feature[node].long()) <= self.threshold[node]
            node = torch.where(goes_left, self.left[node], self.right[node]).long()
        return self.value[node].mean(1)

    def fits(self, n_features: int) -> bool:
        """Do all places lie inside the arrays? What is read from a file may not."""
        n_nodes = len(self.value)
        nodes = torch.cat([self.left, self.right, self.roots])
        return bool(
            ((nodes >= 0) & (nodes < n_nodes)).all()
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
        children = {"left": tree.children_left, "right": tree.children_right}
        for name, child in children.items():
            getattr(forest, name)[rows] = torch.from_numpy(np.where(leaf, own, child) + start)
        forest.feature[rows] = torch.from_numpy(np.where(leaf, 0, tree.feature))
        forest.threshold[rows] = torch.from_numpy(_below(tree.threshold))
        forest.value[rows] = torch.from_numpy(tree.value[:, 0, 0].astype(np.float32))
    return forest


def _below(thresholds: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """The largest float32 not above each: float32 features fall on the same sides of it."""
    rounded = thresholds.astype(np.float32)
    return np.where(rounded > thresholds, np.nextafter(rounded, np.float32(-np.inf)), rounded)
