"""The map: the Epsilon-VAE, what it is held against, and how it is judged."""

from epsvae.map.data import MapData as MapData
from epsvae.map.data import load_map_data as load_map_data
from epsvae.map.files import load_epsilon_vae as load_epsilon_vae
from epsvae.map.files import save_map as save_map
from epsvae.map.fit import fit_map as fit_map
from epsvae.map.model import EpsilonVAE as EpsilonVAE
from epsvae.map.model import MapConfig as MapConfig
from epsvae.map.predict import predict_files as predict_files
from epsvae.map.release import Release as Release
from epsvae.map.release import open_release as open_release
from epsvae.map.seed import SeedConfig as SeedConfig
from epsvae.map.seed import SeedVAE as SeedVAE
from epsvae.map.train_weights import fit_weight_decoder as fit_weight_decoder
from epsvae.map.weights_out import WeightDecoderConfig as WeightDecoderConfig
