"""What a map is used for, one file a use."""

from epsvae.uses.average import add_noise as add_noise
from epsvae.uses.average import linear_average as linear_average
from epsvae.uses.average import nearest as nearest
from epsvae.uses.average import spherical_average as spherical_average
from epsvae.uses.decode import Realised as Realised
from epsvae.uses.decode import realise as realise
from epsvae.uses.decode import run_weights as run_weights
from epsvae.uses.decode import virtual_checkpoint as virtual_checkpoint
from epsvae.uses.pareto import find_pareto_efficient as find_pareto_efficient
