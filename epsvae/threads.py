"""Threads of torch: those that wait sleep, and small work keeps to one of them.

A map's work is many small operations. After each of them the OpenMP threads of torch wait for the
next one by spinning, and where another program holds one of the cores, every operation waits for a
thread that does not get to run: on two cores, one of them busy, reading 44 files took 39 s instead
of 2. With ``OMP_WAIT_POLICY=PASSIVE``, which OpenMP reads when it is loaded, waiting threads sleep.
The package sets it where torch is not yet loaded. Where it is, `calm` keeps to one thread.
"""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["calm", "let_waiting_threads_sleep", "one_thread"]

POLICY = "OMP_WAIT_POLICY"


def let_waiting_threads_sleep() -> None:
    """Set the policy unless the user did, or OpenMP read it already (with torch)."""
    if "torch" not in sys.modules:
        os.environ.setdefault(POLICY, "PASSIVE")


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch use one thread in the block, or in the decorated function."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def calm() -> Iterator[None]:
    """As many threads as the caller set where waiting ones sleep, else one."""
    if os.environ.get(POLICY, "").upper() == "PASSIVE":
        yield
    else:
        with one_thread():
            yield
