"""The rows of the tables: how each is fitted to a library, and what it may see."""

from functools import partial

from research.rows import own
from research.rows.baselines import in_range, nearest_neighbour, training_mean
from research.rows.features import fit_boosting, fit_linear, fit_trees, recipe_features
from research.rows.function import anchors_by_inference, full_evaluation
from research.rows.graph import neural_graph
from research.rows.row import Access as Access
from research.rows.row import Predictor as Predictor
from research.rows.row import Row as Row
from research.rows.row import without_seed
from research.rows.training import probe_encoder
from research.rows.weights import (
    partial_least_squares,
    pca_ridge,
    ridge_on_realigned,
    ridge_on_weights,
)
from research.statistics import split_statistics

ROWS: dict[str, Row] = {
    "training mean": Row("nothing", without_seed(training_mean), reads="any"),
    "epoch and recipe": Row(
        "metadata", partial(fit_trees, features=recipe_features), trained=True, reads="any"
    ),
    "nearest neighbour": Row("statistics", without_seed(nearest_neighbour), reads="same names"),
    "ridge on statistics": Row(
        "statistics",
        without_seed(in_range(partial(fit_linear, features=split_statistics))),
        reads="same names",
    ),
    "ExtraTrees": Row(
        "statistics",
        partial(fit_trees, features=split_statistics),
        trained=True,
        reads="same names",
    ),
    "gradient boosting": Row(
        "statistics",
        partial(fit_boosting, features=split_statistics),
        trained=True,
        reads="same names",
    ),
    "ridge on weights": Row("key weights", without_seed(in_range(ridge_on_weights))),
    "PCA ridge": Row("key weights", without_seed(in_range(pca_ridge))),
    "PLS": Row("key weights", without_seed(in_range(partial_least_squares))),
    "ridge on re-aligned weights": Row("key weights", in_range(ridge_on_realigned), trained=True),
    "neural graph": Row("all weights", neural_graph, trained=True, reads="any"),
    "probe-only encoder": Row("all weights", probe_encoder, trained=True, reads="any"),
    "256 anchors": Row("function", without_seed(anchors_by_inference), reads="any"),
    "full evaluation": Row("function", without_seed(full_evaluation), reads="any"),
    **{
        name: Row("key weights", partial(own.fit_seed, name), trained=True, kept=True)
        for name in own.SEED_ROWS
    },
    "default, key weights": Row("key weights", own.fit_key_weights, trained=True, kept=True),
    own.ONE_MAP: Row("all weights", own.fit_one_map, trained=True, reads="any", kept=True),
    "default": Row("all weights", own.fit_default, trained=True, reads="any", kept=True),
}
"""In the order of the tables: from those that see nothing to those that run the network, then those
whose trainings are files."""
