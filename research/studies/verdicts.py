"""What the tables of a study say: each setting against its reference, slopes, crossings."""

from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd
from jaxtyping import Float

from research.studies.ablations import ABLATIONS

REFERENCES = {
    "probes": "128",
    "latent": "64",
    "decoder": "curved",
    "parameters": "all weights",
    "readings": "sweep",
    "coverage": "share and logit",
    "start": "closed form",
    "metric weight": "1.0",
    "KL weight": "1e-05",
    "embedding loss": "Euclidean",
}
"""The default's setting in each ablation. The first seven are one and the same map."""

SAME, NOISE, SEEDS, CLEAR = "same", "noise", "seeds", "clear"
"""Verdicts, from no difference at all to one that neither seeds nor runs explain."""
MARKS = {
    (CLEAR, True): "▲",
    (SEEDS, True): "△",
    (CLEAR, False): "▼",
    (SEEDS, False): "▽",
}
WORDS = {
    (CLEAR, True): "clearly worse",
    (SEEDS, True): "worse than seeds explain",
    (CLEAR, False): "clearly better",
    (SEEDS, False): "better than seeds explain",
    (NOISE, True): "within the seeds' noise",
    (NOISE, False): "within the seeds' noise",
    (SAME, True): "unchanged",
    (SAME, False): "unchanged",
}
EQUAL = 1e-6
"""Relative difference below which two errors are the same."""
GROUP = ["library", "study", "setting", "measure"]


def compare(losses: pd.DataFrame) -> pd.DataFrame:
    """Every setting of the ablations against the default's, studies and settings in their order.

    Args:
        losses: one split of the ablations, less is better (`tools.plots.as_loss`); columns study,
            library, setting, seed, measure, value, low, high.

    Returns:
        Columns library, study, setting, measure; seeds, how many; value and reference, means over
        seeds; factor, their ratio; low and high, the reference's interval over runs; verdict:

        - ``same``: the same number;
        - ``noise``: the seeds of the two overlap. With one seed each: the difference is no larger
          than the range of the default map over its seeds;
        - ``seeds``: beyond that, but the value lies in the reference's interval over runs;
        - ``clear``: beyond that, and outside this interval.
    """
    groups = losses.groupby(GROUP, sort=False)
    found = groups["value"].agg(seeds="count", value="mean", smallest="min", largest="max")
    found = found.join(groups[["low", "high"]].mean()).reset_index()
    by_default = found[found["setting"] == found["study"].map(REFERENCES)].copy()
    by_default["ruler"] = by_default["largest"] - by_default["smallest"]
    by_default["ruler"] = by_default.groupby(["library", "measure"])["ruler"].transform("max")
    keys = ["library", "study", "measure"]
    found = found.drop(columns=["low", "high"]).merge(
        by_default.drop(columns=["setting", "seeds"]), on=keys, suffixes=("", "_default")
    )
    found = found.rename(columns={"value_default": "reference"})
    found["factor"] = found["value"] / found["reference"]
    found["verdict"] = _verdicts(found)
    places = {name: n for n, name in enumerate(_settings())}
    rank = pd.Series([places[pair] for pair in zip(found["study"], found["setting"], strict=True)])
    columns = [*GROUP, "seeds", "value", "reference", "factor", "low", "high", "verdict"]
    ranked = found.assign(rank=rank).sort_values(["library", "rank"], kind="stable")
    return ranked[columns].reset_index(drop=True)


def _settings() -> list[tuple[str, str]]:
    return [(study, setting) for study, settings in ABLATIONS.items() for setting in settings]


def _verdicts(found: pd.DataFrame) -> list[str]:
    gap = (found["value"] - found["reference"]).abs()
    apart = (found["smallest"] > found["largest_default"]) | (
        found["largest"] < found["smallest_default"]
    )
    beyond = apart.where(found["seeds"] > 1, gap > found["ruler"])
    inside = found["value"].between(found["low"], found["high"])
    verdicts = np.select(
        [gap <= EQUAL * found["reference"].abs(), ~beyond.astype(bool), inside],
        [SAME, NOISE, SEEDS],
        CLEAR,
    )
    return [str(verdict) for verdict in verdicts]


def tell(compared: pd.DataFrame, study: str, setting: str) -> str:
    """One setting in words, a clause for each library: which errors are worse, by what factor.

    `compared` has a column ``error`` beside those of `compare`: the names to use.
    """
    chosen = compared[(compared["study"] == study) & (compared["setting"] == setting)]
    return "; ".join(
        f"in the {library} library, {_tell_one(here)}"
        for library, here in chosen.groupby("library", sort=False)
    )


def _tell_one(here: pd.DataFrame) -> str:
    words = [WORDS[key] for key in zip(here["verdict"], here["factor"] > 1, strict=True)]
    clauses = []
    for word, part in here.assign(word=words).groupby("word", sort=False):
        factors = [f"{factor:.2f}" for factor in sorted(part["factor"])]
        changed = not (part["verdict"] == SAME).all()
        if len(part) == len(here) > 1:
            span = f" (× {factors[0]} to × {factors[-1]})" if changed else ""
            return f"all {len(here)} errors are {word}{span}"
        times = part["factor"].map(" (× {:.2f})".format if changed else lambda _: "")
        *others, last = part["error"] + times
        names = f"{', '.join(others)} and {last}" if others else last
        clauses.append(f"{names} {'are' if others else 'is'} {word}")
    return ", ".join(clauses)


class PowerLaw(NamedTuple):
    """error = factor · size^slope, fitted on logarithmic scales."""

    factor: float
    slope: float
    low: float
    high: float
    """Where 95 % of the slopes fall if each size is given one of its seeds."""


def power_law(
    sizes: Float[np.ndarray, "sizes"], losses: Float[np.ndarray, "sizes seeds"]
) -> PowerLaw:
    """Least squares through the logarithms of sizes and of errors, for at least two sizes.

    Raises ValueError for fewer.
    """
    if len(sizes) < 2:
        raise ValueError(f"sizes: expected at least two, found {len(sizes)}")
    x, y = np.log(sizes), np.log(losses)
    slope, offset = np.polyfit(x, y.mean(1), 1)
    picks = np.array(list(product(range(losses.shape[1]), repeat=len(sizes))))
    drawn = y[np.arange(len(sizes)), picks]
    low, high = np.quantile(np.polyfit(x, drawn.T, 1)[0], [0.025, 0.975])
    return PowerLaw(float(np.exp(offset)), float(slope), float(low), float(high))


def crossing(
    sizes: Float[np.ndarray, "sizes"], losses: Float[np.ndarray, "sizes"], target: float
) -> float:
    """The size from which on an error stays at or below a target; sizes ascend.

    Between two sizes it is read off a straight line on logarithmic scales. 0 if the smallest size
    is enough, infinity if the largest is not.
    """
    missed = np.flatnonzero(losses > target)
    if len(missed) == 0:
        return 0.0
    last = missed[-1]
    if last == len(sizes) - 1:
        return float("inf")
    x, y = np.log(sizes[last : last + 2]), np.log(losses[last : last + 2])
    share = (np.log(target) - y[0]) / (y[1] - y[0])
    return float(np.exp(x[0] + share * (x[1] - x[0])))
