"""What published checkpoints of the original project say of themselves."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from epsvae.errors import CheckpointError
from epsvae.subjects.ternary.metrics import METRIC_NAMES, METRICS, Metrics
from epsvae.torch_files import number

CONFIG_KEYS = ("config", "args", "hyper_parameters")
"""Where it may hold its settings."""
PUBLISHED_NAMES = {
    "coverage": "coverage",
    "distance_correlation": "distance_corr_A",
    "radial_hierarchy": "radial_corr_A",
}
"""Names of the metrics in this package and in published checkpoints."""
RANGES = {metric.name: (metric.low, metric.high) for metric in METRICS}
"""Where a stored metric may lie."""


def find_metrics(contents: Mapping[str, Any]) -> Metrics | None:
    """Metrics stored in a checkpoint, None if one of the three is not there.

    Raises CheckpointError, naming it, for a metric that is not a number in its range.
    """
    stored = contents.get("metrics")
    if not isinstance(stored, Mapping):
        return None
    values = {}
    for name, published in PUBLISHED_NAMES.items():
        value = stored.get(name, stored.get(published))
        if value is not None:
            values[name] = number(f"metric {published}", value, *RANGES[name])
    return Metrics(**values) if len(values) == len(METRIC_NAMES) else None


def find_epoch(contents: Mapping[str, Any]) -> float | None:
    """Epoch stored in a checkpoint, None if it is not there."""
    value = contents.get("epoch")
    return None if value is None else number("epoch", value, 0.0, 1e9)


def find_max_radius(contents: Mapping[str, Any]) -> float | None:
    """Max radius of the projections in a checkpoint's settings, nested or not, None if not there.

    Raises CheckpointError for a value outside (0, 1), and for two different ones.
    """
    settings = [contents[key] for key in CONFIG_KEYS if key in contents]
    values = {number("max_radius", v, 1e-6, 1 - 1e-6) for s in settings for v in _max_radii(s)}
    if len(values) > 1:
        raise CheckpointError(f"expected one max_radius in the settings, found {sorted(values)}")
    return values.pop() if values else None


def _max_radii(settings: Any, depth: int = 4) -> Iterator[Any]:
    if isinstance(settings, argparse.Namespace):
        settings = vars(settings)
    if isinstance(settings, Mapping) and depth > 0:
        for key, value in settings.items():
            if key == "max_radius" and value is not None:
                yield value
            else:
                yield from _max_radii(value, depth - 1)
