"""What the tables of a study say: each setting against its reference."""

import numpy as np
import pandas as pd

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
