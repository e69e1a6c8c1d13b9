"""The map of any subject: learned quadrature, its intervals, its off-map score."""

from importlib import import_module
from typing import Any

_PLACES = {
    "CalibratedMap": "calibrated",
    "FilePredictions": "predict",
    "FittedMap": "learn",
    "Place": "calibrated",
    "fit_map": "learn",
    "load_map": "map_file",
    "predict_files": "predict",
    "save_map": "map_file",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: who predicts need not load what trains."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
