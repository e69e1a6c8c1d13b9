"""The map of any subject: learned quadrature, its intervals, its off-map score."""

from epsvae.lazy import importer

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
__getattr__ = importer(__name__, _PLACES)  # who predicts need not load what trains
