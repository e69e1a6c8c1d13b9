"""Surroundings of all tests: no screen, one torch thread, types and shapes checked, fixed examples.

The import hook holds every annotation of the package and its workrooms against the actual values,
so it must come before the first import of either.
"""

import os

import torch
from hypothesis import settings
from jaxtyping import install_import_hook

os.environ["MPLBACKEND"] = "agg"
torch.set_num_threads(1)
if os.environ.get("ATEN_CPU_CAPABILITY") != "default":  # test-plain repeats numbers, not types
    install_import_hook(["epsvae", "research", "tools"], "beartype.beartype")

settings.register_profile("epsvae", max_examples=50, deadline=None, derandomize=True, database=None)
settings.load_profile("epsvae")

pytest_plugins = ["tests.toys.networks", "tests.toys.libraries"]
