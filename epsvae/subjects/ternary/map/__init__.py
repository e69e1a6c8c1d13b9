"""The ternary subject's own map: the Epsilon-VAE, its calibration and its release."""

from importlib import import_module
from typing import Any

_PLACES = {
    "EpsilonVAE": "model",
    "MapConfig": "model",
    "MapData": "data",
    "Release": "release",
    "SeedConfig": "seed",
    "SeedVAE": "seed",
    "TernaryMap": "look",
    "WeightDecoderConfig": "weights_out",
    "fit_map": "fit",
    "fit_weight_decoder": "train_weights",
    "load_epsilon_vae": "files",
    "load_map_data": "data",
    "open_map": "look",
    "open_release": "release",
    "save_map": "files",
}
__all__ = list(_PLACES)


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for: who predicts need not load what trains."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_PLACES[name]}"), name)
