"""Chapters under nbval: the runner's surroundings of kernels, and its idea of the same output."""

import os
from functools import partial
from typing import Any

import pytest

from tools.book.compare import settled, tolerance_of
from tools.book.kernels import KERNEL_ENVIRONMENT

os.environ.update(KERNEL_ENVIRONMENT)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let nbval compare a cell's outputs after what is the same was taken as stored."""
    if hasattr(item, "compare_outputs"):
        tolerance = tolerance_of(item.cell.source)
        item.compare_outputs = partial(_compare, item.compare_outputs, tolerance)


def _compare(compare: Any, tolerance: float, test: Any, ref: Any, skip_compare: Any = None) -> Any:
    return compare(settled(test, ref, tolerance), ref, skip_compare)
