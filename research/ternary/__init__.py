"""The factory of ternary networks: recipes, runs trained together, libraries on disk."""

from research.ternary import catalogue as catalogue
from research.ternary.build import build_libraries as build_libraries
from research.ternary.factory import encode_all as encode_all
from research.ternary.factory import initial_state as initial_state
from research.ternary.factory import train_runs as train_runs
from research.ternary.index import build_index as build_index
from research.ternary.recipes import STEPS_PER_EPOCH as STEPS_PER_EPOCH
from research.ternary.recipes import BaseRecipe as BaseRecipe
from research.ternary.recipes import draw_recipe as draw_recipe
from research.ternary.runs import save_run_checkpoint as save_run_checkpoint
from research.ternary.runs import start_run as start_run
from research.ternary.runs import write_run as write_run
