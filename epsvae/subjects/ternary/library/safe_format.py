"""This package's checkpoint format: safetensors, with the facts as JSON in its metadata."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from epsvae.errors import CheckpointError

FORMAT = "epsvae-checkpoint-1"
FACTS: dict[str, Any] = {
    "architecture": dict,
    "max_radius": float,
    "metrics": dict,
    "epoch": int | float,
    "run": str,
    "provenance": dict,
}
"""What the metadata of a file in this format may hold, each as JSON."""


def pack(state: dict[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    """Bytes of a file. Law: the same state and facts give the same bytes.

    Facts that are None are left out. safetensors writes metadata in random order, so that its
    header is written again, sorted.
    """
    known = {name: json.dumps(facts[name]) for name in FACTS if facts[name] is not None}
    contents = save(state, {"format": FORMAT, **known})
    start = 8 + int.from_bytes(contents[:8], "little")
    header = json.loads(contents[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + contents[start:]


def unpack(path: Path) -> dict[str, Any]:
    """Contents of a safetensors file in the shape of a published checkpoint.

    The facts are there only if the file is of this format. Raises CheckpointError for a damaged
    file and for facts of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise CheckpointError(f"expected a whole safetensors file, found: {error}") from error
    facts = _facts(metadata) if metadata.get("format") == FORMAT else {}
    return {"state_dict": state, "config": {"max_radius": facts.get("max_radius")}, **facts}


def _facts(metadata: Mapping[str, str]) -> dict[str, Any]:
    facts: dict[str, Any] = {"format": FORMAT}
    for name, kind in FACTS.items():
        if name in metadata:
            try:
                facts[name] = json.loads(metadata[name])
            except (ValueError, RecursionError) as error:
                raise CheckpointError(f"expected {name} in JSON, found {error}") from error
            if not isinstance(facts[name], kind):
                raise CheckpointError(f"expected {name} as {kind}, found {facts[name]!r:.80}")
    return facts
