"""Rows that see layer statistics of the key weights: moments, quantiles, norms."""

from epsvae.subjects.ternary.map.data import MapData
from research.rows.features import fit_boosting, fit_linear, fit_trees
from research.rows.row import Predictor
from research.statistics import split_statistics


def ridge_on_statistics(data: MapData) -> Predictor:
    """Ridge regression on layer statistics."""
    return fit_linear(data, split_statistics)


def extra_trees(data: MapData, seed: int) -> Predictor:
    """Extremely randomised trees (Geurts et al., 2006) on layer statistics."""
    return fit_trees(data, split_statistics, seed)


def gradient_boosting(data: MapData, seed: int) -> Predictor:
    """Gradient boosting on layer statistics; metrics only."""
    return fit_boosting(data, split_statistics, seed)
