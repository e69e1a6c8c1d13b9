"""Rows that read a table of features: statistics of the layers, or epoch and recipe.

Ridge, extremely randomised trees and gradient boosting.
"""

from collections.abc import Callable
from itertools import islice

import numpy as np
import torch
from jaxtyping import Float
from sklearn.ensemble import HistGradientBoostingRegressor
from torch import nn

from epsvae.errors import LibraryError
from epsvae.map.ridge import fit_ridge
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.map.prediction import Prediction
from research.rows.baselines import TREES, best_forest
from research.rows.row import Predictor
from research.rows.targets import fit_targets
from research.ternary.recipes import REGIMES

Features = Callable[[ExtractedSplit], Float[np.ndarray, "n features"]]

NUMBERS = (
    *("lr", "encoder_a_lr_scale", "encoder_b_lr_scale", "radial_weight", "geodesic_weight"),
    *("reconstruction_weight", "unfreeze_start", "coverage_floor", "max_radius"),
)
"""Columns of the index that a recipe fixes before its run starts."""
CODE_TREES = 100
RATES, MAX_ROUNDS, LEAF, FEATURE_SHARE = (0.03, 0.1), 400, 5, 0.3


def fit_linear(data: MapData, features: Features) -> Predictor:
    """Ridge regression to the embeddings' codes and to each metric.

    Strengths are chosen on validation runs, one for the codes and one for each metric.
    """
    targets = fit_targets(data.train)
    x, held_out = (torch.from_numpy(features(s)).float() for s in (data.train, data.validation))
    codes = nn.Linear(x.shape[1], targets.n_codes)
    fit_ridge(codes, (x, targets.codes(data.train)), (held_out, targets.codes(data.validation)))
    readers = [nn.Linear(x.shape[1], 1) for _ in METRIC_NAMES]
    for column, reader in enumerate(readers):
        known, wanted = (
            torch.from_numpy(split.metrics[:, [column]]).float()
            for split in (data.train, data.validation)
        )
        fit_ridge(reader, (x, known), (held_out, wanted))

    @torch.no_grad()
    def predict(split: ExtractedSplit) -> Prediction:
        x = torch.from_numpy(features(split)).float()
        metrics = torch.cat([reader(x) for reader in readers], dim=1)
        return Prediction(targets.embeddings(codes(x)), metrics.numpy())

    return predict


def fit_trees(data: MapData, seed: int, features: Features) -> Predictor:
    """Extremely randomised trees (Geurts et al., 2006): one forest for metrics, one for codes."""
    targets = fit_targets(data.train)
    x, held_out = features(data.train), features(data.validation)
    metrics = (x, data.train.metrics[:]), (held_out, data.validation.metrics[:])
    codes = (
        (x, targets.codes(data.train).numpy()),
        (held_out, targets.codes(data.validation).numpy()),
    )
    forest = best_forest(*metrics, TREES, seed)
    code_forest = best_forest(*codes, CODE_TREES, seed)

    def predict(split: ExtractedSplit) -> Prediction:
        x = features(split)
        found = torch.from_numpy(code_forest.predict(x)).float()
        return Prediction(targets.embeddings(found), forest.predict(x))

    return predict


def fit_boosting(data: MapData, seed: int, features: Features) -> Predictor:
    """Gradient boosting (Friedman, 2001; histogram trees), one model a metric; no embeddings.

    Learning rate and number of trees are chosen on validation runs.
    """
    models = [_best_boosting(data, features, column, seed) for column in range(len(METRIC_NAMES))]

    def predict(split: ExtractedSplit) -> Prediction:
        columns = [_after(model, features(split), rounds) for model, rounds in models]
        return Prediction(None, np.stack(columns, axis=1))

    return predict


def _best_boosting(
    data: MapData, features: Features, column: int, seed: int
) -> tuple[HistGradientBoostingRegressor, int]:
    """The best model of one metric and after how many trees it is best."""
    x, held_out = features(data.train), features(data.validation)
    truth = data.validation.metrics[:, column]
    best: tuple[float, HistGradientBoostingRegressor, int] = (np.inf, None, 0)
    for rate in RATES:
        model = HistGradientBoostingRegressor(
            learning_rate=rate,
            max_iter=MAX_ROUNDS,
            min_samples_leaf=LEAF,
            max_features=FEATURE_SHARE,
            early_stopping=False,
            random_state=seed,
        ).fit(x, data.train.metrics[:, column])
        errors = [np.abs(guess - truth).mean() for guess in model.staged_predict(held_out)]
        rounds = int(np.argmin(errors)) + 1
        best = min(best, (errors[rounds - 1], model, rounds), key=lambda found: found[0])
    return best[1], best[2]


def _after(
    model: HistGradientBoostingRegressor, x: Float[np.ndarray, "n features"], rounds: int
) -> Float[np.ndarray, "n"]:
    """Prediction of a boosted model after its first trees."""
    return next(islice(model.staged_predict(x), rounds - 1, None))


def recipe_features(split: ExtractedSplit) -> Float[np.ndarray, "n features"]:
    """Epoch, share of the run that is done, one column a regime, and `NUMBERS`.

    Raises LibraryError if the index does not know the recipes, as one of imported files.
    """
    index = split.index
    if missing := {"epoch", "epochs", "regime", *NUMBERS} - set(index.columns):
        raise LibraryError(f"index: expected the recipes' columns, missing {sorted(missing)}")
    epoch = index["epoch"].to_numpy("f8")
    regimes = [index["regime"].to_numpy() == regime for regime in REGIMES]
    numbers = [index[name].to_numpy("f8") for name in NUMBERS]
    return np.column_stack([epoch, epoch / index["epochs"].to_numpy("f8"), *regimes, *numbers])
