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


def test_the_package_lets_waiting_threads_sleep_before_torch_is_loaded():
    show = "; import os; print(os.environ.get('OMP_WAIT_POLICY'))"
    assert told("import epsvae, torch" + show) == "PASSIVE"
    assert told("import torch, epsvae" + show) == "None"  # read already: setting it would mislead
    assert told("import epsvae, torch" + show, OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


def test_where_threads_spin_calm_work_keeps_to_one():
    show = (
        "torch.set_num_threads(2)\nfrom epsvae.threads import calm\n"
        "with calm(): print(torch.get_num_threads(), end=' ')\nprint(torch.get_num_threads())"
    )
    assert told("import torch, epsvae\n" + show) == "1 2"
    assert told("import epsvae, torch\n" + show) == "2 2"


def test_a_chapter_opened_by_hand_has_one_thread():
    code = "import torch; import tools.book.display; print(torch.get_num_threads())"
    assert told(code) == "1"


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
