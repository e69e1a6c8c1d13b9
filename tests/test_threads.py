"""Threads: waiting ones sleep wherever that can still be said, and small work keeps to one."""

import os
import subprocess
import sys

import pytest
import torch

from epsvae.threads import calm, one_thread


def told(code: str, **policy: str) -> str:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("OMP_")} | policy
    command = [sys.executable, "-c", code]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, check=True
    ).stdout.strip()


CALM = """
import os
print(os.environ.get("OMP_WAIT_POLICY"), end=" ")
torch.set_num_threads(2)
from epsvae.threads import calm
with calm():
    print(torch.get_num_threads(), end=" ")
print(torch.get_num_threads(), end=" ")
import tools.book.display  # a chapter opened by hand has one thread
print(torch.get_num_threads())
"""


def test_waiting_threads_sleep_if_the_package_comes_before_torch_and_calm_work_knows():
    assert told("import epsvae, torch" + CALM) == "PASSIVE 2 2 1"


def test_where_threads_spin_calm_work_keeps_to_one():
    """OpenMP has read the policy already: setting it would mislead."""
    assert told("import torch, epsvae" + CALM) == "None 1 2 1"


def test_the_users_policy_stays():
    code = "import os, epsvae; print(os.environ['OMP_WAIT_POLICY'])"
    assert told(code, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


def test_the_number_of_threads_comes_back_whatever_happens():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        with pytest.raises(RuntimeError), one_thread():
            assert torch.get_num_threads() == 1
            raise RuntimeError
        assert torch.get_num_threads() == 2
        calm()(lambda: None)()
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
