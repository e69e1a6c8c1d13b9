"""The surroundings of a chapter's kernel: what makes its numbers repeat."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["KERNEL_ENVIRONMENT", "kernel_environment"]

KERNEL_ENVIRONMENT = {
    # One thread a kernel: sums keep their order, and two kernels do not fight for two cores.
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "PASSIVE",
    # Sets of strings keep their order from one run to the next.
    "PYTHONHASHSEED": "0",
    # Figures are stored in the chapter, whatever backend the caller uses.
    "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    # Progress bars carry timings; they belong to a terminal, not into a page.
    "TQDM_DISABLE": "1",
}


@contextmanager
def kernel_environment() -> Iterator[None]:
    """Set the environment that kernels inherit, and restore the old one at the end."""
    before = {name: os.environ.get(name) for name in KERNEL_ENVIRONMENT}
    os.environ.update(KERNEL_ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
