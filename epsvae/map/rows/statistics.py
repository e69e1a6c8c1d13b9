"""Rows that see layer statistics of the key weights: moments, quantiles, norms."""

from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import StandardScaler

from epsvae.library.extracted import ExtractedSplit
from epsvae.map.data import MapData
from epsvae.map.prediction import Prediction
from epsvae.map.rows.features import fit_boosting, fit_linear, fit_trees
from epsvae.map.rows.row import Predictor
from epsvae.map.statistics import split_statistics


def nearest_neighbour(data: MapData, seed: int = 0) -> Predictor:
    """Behaviour of the training checkpoint with the closest standardised layer statistics."""
    scaler = StandardScaler().fit(split_statistics(data.train))
    search = NearestNeighbors(n_neighbors=1).fit(scaler.transform(split_statistics(data.train)))

    def predict(split: ExtractedSplit) -> Prediction:
        features = scaler.transform(split_statistics(split))
        nearest = search.kneighbors(features, return_distance=False)[:, 0]
        return Prediction(data.train.embeddings[nearest], data.train.metrics[nearest])

    return predict


def ridge_on_statistics(data: MapData, seed: int = 0) -> Predictor:
    """Ridge regression on layer statistics."""
    return fit_linear(data, split_statistics)


def extra_trees(data: MapData, seed: int = 0) -> Predictor:
    """Extremely randomised trees on layer statistics."""
    return fit_trees(data, split_statistics, seed)


def gradient_boosting(data: MapData, seed: int = 0) -> Predictor:
    """Gradient boosting on layer statistics; metrics only."""
    return fit_boosting(data, split_statistics, seed)
