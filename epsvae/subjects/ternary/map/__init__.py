"""The ternary subject's own map: the Epsilon-VAE, its calibration and its release."""

from epsvae.lazy import importer

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
__getattr__ = importer(__name__, _PLACES)  # who predicts need not load what trains
