"""Every row of the validation table that is fitted to a library, by name."""

from research.rows.baselines import in_range, nearest_neighbour, ridge_on_weights, training_mean
from research.rows.function import anchors_by_inference, full_evaluation
from research.rows.graph import neural_graph
from research.rows.metadata import epoch_and_recipe
from research.rows.probes import probe_encoder
from research.rows.realigned import ridge_on_realigned
from research.rows.row import Access as Access
from research.rows.row import Predictor as Predictor
from research.rows.row import Row as Row
from research.rows.row import without_seed
from research.rows.statistics import extra_trees, gradient_boosting, ridge_on_statistics
from research.rows.weights import partial_least_squares, pca_ridge

ROWS: dict[str, Row] = {
    "training mean": Row("nothing", without_seed(training_mean), reads="any"),
    "epoch and recipe": Row("metadata", epoch_and_recipe, trained=True, reads="any"),
    "nearest neighbour": Row("statistics", without_seed(nearest_neighbour), reads="same names"),
    "ridge on statistics": Row(
        "statistics", without_seed(in_range(ridge_on_statistics)), reads="same names"
    ),
    "ExtraTrees": Row("statistics", extra_trees, trained=True, reads="same names"),
    "gradient boosting": Row("statistics", gradient_boosting, trained=True, reads="same names"),
    "ridge on weights": Row("key weights", without_seed(in_range(ridge_on_weights))),
    "PCA ridge": Row("key weights", without_seed(in_range(pca_ridge))),
    "PLS": Row("key weights", without_seed(in_range(partial_least_squares))),
    "ridge on re-aligned weights": Row("key weights", in_range(ridge_on_realigned), trained=True),
    "neural graph": Row("all weights", neural_graph, trained=True, reads="any"),
    "probe-only encoder": Row("all weights", probe_encoder, trained=True, reads="any"),
    "256 anchors": Row("function", without_seed(anchors_by_inference), reads="any"),
    "full evaluation": Row("function", without_seed(full_evaluation), reads="any"),
}
"""In the order of the table: from those that see nothing to those that run the network."""
