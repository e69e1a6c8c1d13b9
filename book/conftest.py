"""Kernels that nbval starts for the chapters get the surroundings of the runner's kernels."""

import os

from epsvae.book.kernels import KERNEL_ENVIRONMENT

os.environ.update(KERNEL_ENVIRONMENT)
