"""What only a map of ternary networks can be used for: it decodes weights."""

from epsvae.subjects.ternary.map.places import release_places as release_places
from epsvae.subjects.ternary.uses.behaviour import behaviour_distances as behaviour_distances
from epsvae.subjects.ternary.uses.decode import Realised as Realised
from epsvae.subjects.ternary.uses.decode import realise as realise
from epsvae.subjects.ternary.uses.decode import run_weights as run_weights
from epsvae.subjects.ternary.uses.decode import virtual_checkpoint as virtual_checkpoint
from epsvae.subjects.ternary.uses.goals import at_least as at_least
from epsvae.subjects.ternary.uses.goals import toward_front as toward_front
from epsvae.subjects.ternary.uses.interpolate import (
    interpolate_checkpoints as interpolate_checkpoints,  # noqa: E501
)
from epsvae.subjects.ternary.uses.interpolate import interpolate_files as interpolate_files
from epsvae.subjects.ternary.uses.interpolate import nearest_checkpoints as nearest_checkpoints
from epsvae.subjects.ternary.uses.match import match_units as match_units
from epsvae.subjects.ternary.uses.mix import add_noise as add_noise
from epsvae.subjects.ternary.uses.mix import spherical_average as spherical_average
from epsvae.subjects.ternary.uses.preview import anchor_errors as anchor_errors
from epsvae.subjects.ternary.uses.preview import anchor_valuations as anchor_valuations
from epsvae.subjects.ternary.uses.preview import errors_by_valuation as errors_by_valuation
from epsvae.subjects.ternary.uses.preview import geodesic_disk as geodesic_disk
from epsvae.subjects.ternary.uses.preview import mean_error as mean_error
from epsvae.subjects.ternary.uses.preview import neighbours_kept as neighbours_kept
from epsvae.subjects.ternary.uses.preview import pairwise as pairwise
from epsvae.subjects.ternary.uses.preview import preview_checkpoint as preview_checkpoint
from epsvae.subjects.ternary.uses.preview import preview_files as preview_files
from epsvae.subjects.ternary.uses.preview import true_anchors as true_anchors
from epsvae.subjects.ternary.uses.sample import Region as Region
from epsvae.subjects.ternary.uses.sample import discover_in_folder as discover_in_folder
from epsvae.subjects.ternary.uses.sample import is_promising as is_promising
from epsvae.subjects.ternary.uses.sample import nearest_distance as nearest_distance
from epsvae.subjects.ternary.uses.sample import promises as promises
from epsvae.subjects.ternary.uses.sample import region_of as region_of
from epsvae.subjects.ternary.uses.sample import reread as reread
from epsvae.subjects.ternary.uses.sample import trials as trials
from epsvae.subjects.ternary.uses.steer import Steering as Steering
from epsvae.subjects.ternary.uses.steer import steer_files as steer_files
