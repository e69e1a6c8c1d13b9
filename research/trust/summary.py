"""What the intervals add up to: how often they hold, every run counting the same."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Float


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
