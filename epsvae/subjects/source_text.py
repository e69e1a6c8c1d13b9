"""Source text of a pinned package as characters: the corpus of the text subject.

Nothing is committed or downloaded: the text is the Python files of scikit-learn, a dependency of
this package, in the order of their paths. Of 8 files one is held out.
"""

import hashlib
import importlib.metadata
import importlib.util
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Literal

import torch
from jaxtyping import Int
from torch import Tensor

from epsvae.errors import SubjectError

Part = Literal["train", "held"]

PACKAGE, VERSION = "scikit-learn", "1.9.1"
FOLDER = "sklearn"
SKIPPED = ("_distributor_init.py",)
"""Files that differ between the wheels of different systems."""
HELD_EVERY = 8
DIGESTS = {
    "train": "a038d40afff9bcf522c481b62b7758eba7c13fe1f49f0bafd4250b96ccf64b5b",
    "held": "7706ee613f9582074d873c8062cc88d2abcecad9749e46755152097b14d76b48",
}
"""SHA-256 of each part of the text, as UTF-8."""

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
"""The 96 characters that have a symbol of their own, in the order of their symbols."""
OTHER = len(CHARACTERS)
"""Symbol of every other character."""
VOCABULARY = len(CHARACTERS) + 1


def encode(text: str) -> Int[Tensor, "n"]:
    """Symbols of a text, one a character."""
    points = torch.frombuffer(bytearray(text.encode("utf-32-le")), dtype=torch.int32).long()
    printable = (points >= 32) & (points < 127)
    symbols = torch.where(printable, points - 31, OTHER)
    return torch.where(points == ord("\n"), 0, symbols)


@cache
def corpus(part: Part) -> Int[Tensor, "n"]:
    """Symbols of the training or the held-out text.

    Raises SubjectError unless exactly the pinned version of the package is installed.
    """
    found = _installed()
    if found != VERSION:
        raise SubjectError(f"text: expected {PACKAGE} {VERSION} as its corpus, found {found}")
    text = "".join(path.read_text(encoding="utf-8") for path in source_files(part))
    digest = hashlib.sha256(text.encode()).hexdigest()
    if digest != DIGESTS[part]:
        raise SubjectError(
            f"text: expected the files of {PACKAGE} {VERSION} as they were published "
            f"({part}: SHA-256 {DIGESTS[part]}), found {digest}"
        )
    return encode(text)


def _installed() -> str:
    try:
        return importlib.metadata.version(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        return "none"


def source_files(part: Part) -> Sequence[Path]:
    """The files of one part of the text, in the order of their paths."""
    spec = importlib.util.find_spec(FOLDER)
    if spec is None or not spec.submodule_search_locations:
        raise SubjectError(f"text: expected the package {FOLDER} as its corpus, found none")
    root = Path(spec.submodule_search_locations[0])
    names = sorted(p.relative_to(root).as_posix() for p in root.rglob("*.py"))
    kept = [name for name in names if name not in SKIPPED]
    held = {name for index, name in enumerate(kept) if index % HELD_EVERY == 0}
    return [root / name for name in kept if (name in held) == (part == "held")]


def windows(symbols: Int[Tensor, "n"], number: int, length: int) -> Int[Tensor, "number length"]:
    """Windows at even distances over the whole text, in an order that mixes its files.

    Any leading part of them is spread over the text (steps of the golden section).
    """
    distance = (len(symbols) - length) / number
    stride = round(number * (5**0.5 - 1) / 2)
    while torch.gcd(torch.tensor(stride), torch.tensor(number)) != 1:
        stride += 1
    order = torch.arange(number) * stride % number
    starts = (order.double() * distance).long()
    return symbols[starts[:, None] + torch.arange(length)]
