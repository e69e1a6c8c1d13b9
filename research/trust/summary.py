"""What the tables on trust add up to: coverage, areas under ROC curves, errors by off-map score."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float
from sklearn.metrics import roc_auc_score

from epsvae.subjects.ternary import METRIC_NAMES
from research.trust.samples import TEST


def auroc_table(offmap: pd.DataFrame, by: Sequence[str] = ("kind",)) -> pd.DataFrame:
    """How well each part of the score tells every kind from the test runs of the same library.

    Columns library, `by`, checkpoints, score, reading, weights (areas under the ROC curve: 1 is
    perfect, 0.5 is chance), flagged (share), error (mean), inside (share of intervals that hold).
    """
    offmap = with_score(offmap)
    lines = []
    for keys, part in offmap.groupby(["library", *by], observed=True, sort=False):
        test = offmap[(offmap["library"] == keys[0]) & (offmap["kind"] == TEST)]
        line = dict(zip(["library", *by], keys, strict=True)) | {"checkpoints": len(part)}
        for name in ("score", "reading", "weights"):
            line[name] = _auroc(test[name], part[name])
        inside = part[[f"{name}_inside" for name in METRIC_NAMES]].to_numpy(float)
        flagged = (part["score"] > 1).mean()
        lines.append(
            line | {"flagged": flagged, "error": part["error"].mean(), "inside": inside.mean()}
        )
    return pd.DataFrame(lines)


def with_score(offmap: pd.DataFrame) -> pd.DataFrame:
    """The table with the one number: the larger of reading and weights."""
    return offmap.assign(score=offmap[["reading", "weights"]].max(axis=1))


def _auroc(negative: pd.Series, positive: pd.Series) -> float:
    """Infinite scores rank above all others."""
    scores = np.concatenate([negative, positive])
    top = scores[np.isfinite(scores)].max() + 1
    truth = np.repeat([0, 1], [len(negative), len(positive)])
    return float(roc_auc_score(truth, np.minimum(scores, top)))


def coverage_table(intervals: pd.DataFrame, by: Sequence[str] = ("metric",)) -> pd.DataFrame:
    """Share of truths inside and mean width, every run counting the same.

    Columns library, rule, split, `by`, runs, coverage, low, high (95 % bootstrap over runs),
    chance_low, chance_high (where 95 % of draws of as many left-out runs fall), width.
    """
    inside = intervals["true"].between(intervals["low"], intervals["high"])
    frame = intervals.assign(inside=inside, width=intervals["high"] - intervals["low"])
    groups = ["library", "rule", "split", *by]
    runs = frame.groupby([*groups, "run"], observed=True)[["inside", "width"]].mean()
    lines = []
    for keys, part in runs.groupby(groups, observed=True):
        reference = runs.xs(
            tuple("left out" if g == "split" else k for g, k in zip(groups, keys, strict=True)),
            level=tuple(groups),
        )
        low, high = _resampled(part["inside"].to_numpy(), len(part))
        chance = _resampled(reference["inside"].to_numpy(), len(part))
        lines.append(
            (*keys, len(part), part["inside"].mean(), low, high, *chance, part["width"].mean())
        )
    names = ["runs", "coverage", "low", "high", "chance_low", "chance_high", "width"]
    return pd.DataFrame(lines, columns=[*groups, *names])


def _resampled(values: Float[np.ndarray, "runs"], n: int) -> tuple[float, float]:
    """95 % of the means of n values drawn with replacement lie between these."""
    drawn = np.random.default_rng(0).integers(len(values), size=(2000, n))
    low, high = np.quantile(values[drawn].mean(1), [0.025, 0.975])
    return float(low), float(high)


def error_deciles(offmap: pd.DataFrame, part: str = "score") -> pd.DataFrame:
    """Error in ten equal groups of all checkpoints of a library, by their off-map score.

    Columns library, decile (1 is closest to the map), score, error, inside. Faint and unread damage
    count as well; checkpoints without metrics do not.
    """
    frame = with_score(offmap).dropna(subset="error")
    rank = frame.groupby("library", observed=True)[part].rank(pct=True, method="first")
    frame["decile"] = np.ceil(10 * rank).astype(int)
    frame["inside"] = frame[[f"{name}_inside" for name in METRIC_NAMES]].mean(axis=1)
    grouped = frame.groupby(["library", "decile"], observed=True)
    return grouped.agg(
        score=(part, "median"), error=("error", "mean"), inside=("inside", "mean")
    ).reset_index()
