"""What counts as the same output: numbers to their last printed digit, pictures to the eye.

Two processors sum in different orders and round the last bits of `exp` differently, so that a
printed number may move by one in its last digit, and a line by a part of a pixel. Everything else
is compared to the letter. A cell whose numbers honestly move further, because it trains, says so in
its own code: ``# compared within 10 %: hundreds of training steps``, or ``# compared within 0.2:
t-SNE is chaotic``. Then its picture is compared by nobody.
"""

import base64
import copy
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from nbformat import NotebookNode
from PIL import Image

__all__ = ["close_text", "same_picture", "settled", "tolerance_of"]

NUMBER = re.compile(r"[-−]?\d+(?:,\d{3})*(?:\.(\d+))?(?:e([+-]?\d+))?")
TOLERANCE = re.compile(r"# compared within (\d+(?:\.\d+)?)( %)?: \S")
BLOCK = 8
"""Pixels, each way, that the eye takes together: less than a letter."""
GREY = 32
"""Grey levels, of 255, that a block may move: less than when a dot comes or goes."""
MOVED = 0.005
"""Share of the blocks that may move further, as where many lines move by a part of a pixel."""
PLOTTED = 1e-4
"""By which a plotted number may move, in itself or as a share."""
LAST_DIGIT = 1.001
"""Units of the last printed digit that a number may move."""


@dataclass(frozen=True)
class Tolerance:
    """How far the numbers of a cell may move, beyond the last digit."""

    share: float = 0.0
    """Of the larger one of two numbers."""
    amount: float = 0.0

    def __bool__(self) -> bool:
        return self.share > 0 or self.amount > 0


LAST_DIGITS = Tolerance()


def tolerance_of(source: str) -> Tolerance:
    """What a cell says of its numbers in a comment; `LAST_DIGITS` if it says nothing."""
    found = TOLERANCE.search(source)
    if found is None:
        return LAST_DIGITS
    value = float(found.group(1))
    return Tolerance(share=value / 100) if found.group(2) else Tolerance(amount=value)


def close_text(a: str, b: str, tolerance: Tolerance = LAST_DIGITS) -> bool:
    """Whether two texts are equal but for numbers that differ by no more than one unit in the last
    printed digit, or by the tolerance.

    Whole numbers have no digits to lose: without a tolerance they must be equal.
    """
    if a == b:
        return True
    if NUMBER.sub("#", a) != NUMBER.sub("#", b):
        return False
    pairs = zip(NUMBER.finditer(a), NUMBER.finditer(b), strict=True)
    return all(_close(x, y, tolerance) for x, y in pairs)


def _close(a: re.Match[str], b: re.Match[str], tolerance: Tolerance) -> bool:
    if a.group() == b.group():
        return True
    (x, unit_x), (y, unit_y) = _read(a), _read(b)
    if unit_x != unit_y and not tolerance:
        return False
    told = max(tolerance.amount, tolerance.share * max(abs(x), abs(y)))
    return abs(x - y) <= told + LAST_DIGIT * max(unit_x, unit_y)


def _read(number: re.Match[str]) -> tuple[float, float]:
    """(value, unit of its last digit); a whole number has no unit."""
    value = float(number.group().replace(",", "").replace("−", "-"))
    decimals, exponent = number.group(1), int(number.group(2) or 0)
    exact = decimals is None and number.group(2) is None
    return value, 0.0 if exact else 10.0 ** (exponent - len(decimals or ""))


def same_picture(a: str, b: str) -> bool:
    """Whether two PNGs, in base64, look the same: equal in size, and in nearly every pixel."""
    if a == b:
        return True
    first, second = (_picture(png) for png in (a, b))
    if first.size != second.size:
        return False
    blocks = [np.asarray(picture.reduce(BLOCK), dtype=np.int16) for picture in (first, second)]
    return bool((np.abs(blocks[0] - blocks[1]).max(axis=-1) > GREY).mean() <= MOVED)


def _picture(png: str) -> Image.Image:
    with Image.open(io.BytesIO(base64.b64decode(png))) as image:
        return image.convert("RGBA")


def settled(
    fresh: Sequence[NotebookNode],
    stored: Sequence[NotebookNode],
    tolerance: Tolerance = LAST_DIGITS,
) -> list[NotebookNode]:
    """The fresh outputs of a cell, each part of them as it was stored where it is the same."""
    result = copy.deepcopy(list(fresh))
    if len(result) == len(stored):
        for new, old in zip(result, stored, strict=True):
            if new.output_type == old.output_type:
                _settle(new, old, tolerance)
    return result


def _settle(new: Any, old: Any, tolerance: Tolerance) -> None:
    """Replace values of a nested dictionary by the old ones where both are the same."""
    for key in new.keys() & old.keys():
        value, before = new[key], old[key]
        if isinstance(value, dict) and isinstance(before, dict):
            _settle(value, before, tolerance)
        elif key == "image/png":
            new[key] = before if tolerance or same_picture(value, before) else value
        elif isinstance(value, str) and isinstance(before, str):
            new[key] = before if close_text(value, before, tolerance) else value
        elif _close_values(value, before):
            new[key] = before


def _close_values(a: Any, b: Any) -> bool:
    """Whether two values of a plot's JSON, its numbers rounded to five digits, are the same."""
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(map(_close_values, a, b))
    if isinstance(a, dict) and isinstance(b, dict):
        return a.keys() == b.keys() and all(_close_values(a[key], b[key]) for key in a)
    if isinstance(a, float) and isinstance(b, (int, float)):
        return math.isclose(a, b, rel_tol=PLOTTED, abs_tol=PLOTTED)
    return bool(a == b)
