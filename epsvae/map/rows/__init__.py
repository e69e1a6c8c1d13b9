"""Every row of the validation table that is fitted to a library, by name."""

from epsvae.map.rows.function import anchors_by_inference, full_evaluation
from epsvae.map.rows.graph import neural_graph
from epsvae.map.rows.mean import training_mean
from epsvae.map.rows.metadata import epoch_and_recipe
from epsvae.map.rows.probes import probe_encoder
from epsvae.map.rows.realigned import ridge_on_realigned
from epsvae.map.rows.row import Access as Access
from epsvae.map.rows.row import Predictor as Predictor
from epsvae.map.rows.row import Row as Row
from epsvae.map.rows.statistics import (
    extra_trees,
    gradient_boosting,
    nearest_neighbour,
    ridge_on_statistics,
)
from epsvae.map.rows.weights import partial_least_squares, pca_ridge, ridge_on_weights

ROWS: dict[str, Row] = {
    "training mean": Row("nothing", training_mean, reads="any"),
    "epoch and recipe": Row("metadata", epoch_and_recipe, trained=True, reads="any"),
    "nearest neighbour": Row("statistics", nearest_neighbour, reads="same names"),
    "ridge on statistics": Row("statistics", ridge_on_statistics, reads="same names"),
    "ExtraTrees": Row("statistics", extra_trees, trained=True, reads="same names"),
    "gradient boosting": Row("statistics", gradient_boosting, trained=True, reads="same names"),
    "ridge on weights": Row("key weights", ridge_on_weights),
    "PCA ridge": Row("key weights", pca_ridge),
    "PLS": Row("key weights", partial_least_squares),
    "ridge on re-aligned weights": Row("key weights", ridge_on_realigned, trained=True, slow=True),
    "neural graph": Row("all weights", neural_graph, trained=True, slow=True, reads="any"),
    "probe-only encoder": Row("all weights", probe_encoder, trained=True, slow=True, reads="any"),
    "256 anchors": Row("function", anchors_by_inference, reads="any"),
    "full evaluation": Row("function", full_evaluation, reads="any"),
}
"""In the order of the table: from those that see nothing to those that run the network."""

QUICK_ROWS = {name: row for name, row in ROWS.items() if not row.slow}
"""Those that take seconds: `make reproduce` fits them."""
