"""The validation table made readable: rows in order, measures as losses, the best in bold."""

import numpy as np
import pandas as pd

__all__ = [
    "ACCESS_COLOURS",
    "as_loss",
    "board",
    "describe_row",
    "is_error",
    "leads",
    "loss_label",
    "measure_label",
    "order_rows",
    "sees_no_more",
]

ACCESS_COLOURS = {
    "nothing": "#999999",
    "metadata": "#EE99AA",
    "statistics": "#EE7733",
    "key weights": "#AA3377",
    "all weights": "#004488",
    "function": "#222222",
}
"""What a row may see of a checkpoint, from least to most, each with its colour."""

NO_BREAK = "\u00a0"

SYNONYMS = {"weights": "key weights"}

MEASURE_LABELS = {
    "embedding_r2": "R²",
    "cosine": "cosine",
    "poincare_error": "Poincaré error",
    "coverage_mae": "MAE coverage",
    "distance_correlation_mae": "MAE distance",
    "radial_hierarchy_mae": "MAE hierarchy",
    "coverage_tau_within": "τ coverage",
    "distance_correlation_tau_within": "τ distance",
    "radial_hierarchy_tau_within": "τ hierarchy",
    "procrustes_cosine": "Procrustes cosine",
    "cka": "CKA",
}

ROW_NOTES = {
    "training mean": "one answer for all: the mean of the training runs",
    "epoch and recipe": "trees on how far a run is and how it was set up",
    "nearest neighbour": "copies the training checkpoint with the closest layer statistics",
    "ridge on statistics": "linear in the layer statistics",
    "ExtraTrees": "randomised trees on layer statistics",
    "gradient boosting": "boosted trees on layer statistics",
    "ridge on weights": "linear in the flat key weights",
    "PCA ridge": "linear in the leading principal components of the key weights",
    "PLS": "partial least squares on the flat key weights",
    "ridge on re-aligned weights": "hidden units first put in the order of one checkpoint's",
    "seed metrics-only": "the seed's flat encoder, trained on the metrics alone",
    "seed hybrid": "the seed's flat encoder, trained on embeddings and metrics",
    "neural graph": "messages along the checkpoint's own connections",
    "probe-only encoder": "learned probes, read by a network that starts from nothing",
    "default, key weights": "the map of this book, with all but the key weights hidden",
    "default, both libraries": "the same map, fitted on the training runs of both libraries",
    "default": "the map of this book: a sweep of probes, started in closed form",
    "256 anchors": "runs the network on the anchors, estimates the metrics from them",
    "full evaluation": "runs the network on everything: exact by definition",
}


def describe_row(row: str) -> str:
    """What a row of the table does, in a few words; a dash for a row without a note."""
    return ROW_NOTES.get(row, "–")


def measure_label(measure: str) -> str:
    """A short name for a column of the validation table."""
    return MEASURE_LABELS.get(measure, measure.replace("_", " "))


def loss_label(measure: str) -> str:
    """The name of a measure after `as_loss`: ``1 − R²`` for R²."""
    return measure_label(measure) if is_error(measure) else f"1 − {measure_label(measure)}"


def is_error(measure: str) -> bool:
    """Whether less is better: mean absolute errors and distances, unlike R², cosines and τ."""
    return measure.endswith(("_mae", "_error"))


def as_loss(table: pd.DataFrame) -> pd.DataFrame:
    """The same table with one minus each value of which more is better, intervals included.

    Columns measure, value, low, high; a measure that is an error stays as it is.
    """
    turn = ~table["measure"].map(is_error).astype(bool)
    ends = {"value": "value", "low": "high", "high": "low"}
    turned = {to: table[to].where(~turn, 1 - table[source]) for to, source in ends.items()}
    return table.assign(**turned)


def order_rows(table: pd.DataFrame) -> pd.DataFrame:
    """A validation table sorted by what its rows may see, from nothing to the whole function.

    The sort is stable: regimes stay in the order in which they appear, and so do rows that see the
    same, the default map and its variants after the others. An access that is not in
    `ACCESS_COLOURS` comes last.
    """
    access = table["access"].replace(SYNONYMS)
    ranks = {name: rank for rank, name in enumerate(ACCESS_COLOURS)}
    keys = pd.DataFrame({"regime": table["regime"].factorize()[0]}, index=table.index)
    keys["rank"] = access.map(ranks).fillna(len(ranks))
    keys["ours"] = table["row"].str.startswith("default")
    order = keys.sort_values(["regime", "rank", "ours"], kind="stable").index
    return table.assign(access=access).loc[order].reset_index(drop=True)


def sees_no_more(table: pd.DataFrame, row: str = "default") -> pd.Series:
    """Which lines of an ordered table belong to rows that see as much as `row`, or less.

    Raises ValueError if the table has no such row.
    """
    found = table.loc[table["row"] == row, "access"].unique()
    if len(found) != 1:
        raise ValueError(f"row: expected {row!r} with one access, found {found.tolist()}")
    accesses = list(ACCESS_COLOURS)
    return table["access"].isin(accesses[: accesses.index(found[0]) + 1])


def board(table: pd.DataFrame, measures: list[str]) -> pd.DataFrame:
    """One regime and split as text: a line for each row, a column for each measure.

    `table` is ordered and has one line for each row and measure. Three decimals, four for cosines;
    the best of the rows that see no more than the default map is in HTML's bold, with those that
    read the same. Names of rows do not break.
    """
    index = pd.MultiIndex.from_frame(table[["access", "row"]].drop_duplicates())
    values = table.set_index(["access", "row", "measure"])["value"].unstack("measure")
    values = values.reindex(index=index, columns=measures)
    compared = index.isin(pd.MultiIndex.from_frame(table.loc[sees_no_more(table), index.names]))
    shown = pd.DataFrame(index=index.set_names(["sees", "row"]))
    for measure in measures:
        digits = 4 if "cosine" in measure else 3
        texts = values[measure].map(f"{{:.{digits}f}}".format).replace("nan", "–")
        best = values.loc[compared, measure].agg("min" if is_error(measure) else "max")
        bold = compared & (texts == f"{best:.{digits}f}").to_numpy()
        shown[measure_label(measure)] = np.where(bold, "<b>" + texts + "</b>", texts)
    return shown.rename(index=lambda name: name.replace(" ", NO_BREAK), level="row")


def leads(table: pd.DataFrame, paired: pd.DataFrame | None = None) -> pd.DataFrame:
    """The default map against the best other row that sees no more, for each regime and measure.

    Args:
        table: ordered, one split; columns regime, row, access, measure, value, low, high.
        paired: columns regime, row, measure, low, high: the interval of the row's value minus the
            default map's over the same resampled runs. Where there is none, the span between the
            ends of the two rows' own intervals takes its place, which is wider.

    Returns:
        Columns regime, measure, default, row, value (both as in `table`) and lead, low, high: how
        much smaller the default map's loss is. `better` is ``default`` or the row where the
        interval excludes zero, and empty elsewhere. Variants of the default map are no rivals.
    """
    keys = ["regime", "measure"]
    fair = table[sees_no_more(table) & table["value"].notna()]
    loss = as_loss(fair)
    ours, others = loss[loss["row"] == "default"], loss[~loss["row"].str.startswith("default")]
    best = others.loc[others.groupby(keys, sort=False)["value"].idxmin()]
    both = best.merge(ours[[*keys, "value", "low", "high"]], on=keys, suffixes=("", "_ours"))
    flip = ~both["measure"].map(is_error).to_numpy(dtype=bool)
    found = both[[*keys, "row"]].assign(
        default=both["value_ours"].where(~flip, 1 - both["value_ours"]),
        value=both["value"].where(~flip, 1 - both["value"]),
        lead=both["value"] - both["value_ours"],
        low=both["low"] - both["high_ours"],
        high=both["high"] - both["low_ours"],
    )
    if paired is not None:
        by_row = paired.set_index([*keys, "row"])[["low", "high"]]
        ends = by_row.reindex(pd.MultiIndex.from_frame(found[[*keys, "row"]])).to_numpy()
        ends = np.where(flip[:, None], -ends[:, ::-1], ends)
        found[["low", "high"]] = np.where(np.isnan(ends), found[["low", "high"]], ends)
    named = found["row"].where(found["high"] < 0, "")
    return found.assign(better=named.mask(found["low"] > 0, "default"))
