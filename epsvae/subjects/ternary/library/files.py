"""Checkpoints on disk: written whole or not at all, read without running code, checked strictly."""

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from epsvae.atomic import replacing
from epsvae.checkpoints import check_file
from epsvae.errors import CheckpointError, few
from epsvae.subjects.ternary import Architecture, Metrics
from epsvae.subjects.ternary.library.architecture import infer_architecture
from epsvae.subjects.ternary.library.published import find_epoch, find_max_radius, find_metrics
from epsvae.subjects.ternary.library.safe_format import FORMAT, pack, unpack
from epsvae.torch_files import find_state, number, read_torch

log = logging.getLogger(__name__)

DEFAULT_MAX_RADIUS = 0.95
"""The published networks' value, for files that do not say."""
TORCH_SUFFIXES = (".pt", ".pth", ".ckpt")
SUFFIXES = (".safetensors", *TORCH_SUFFIXES)


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """One network with what is known about it; None stands for unknown, never 0."""

    state: dict[str, Tensor]
    """Parameters by their published names, float32."""
    architecture: Architecture
    max_radius: float = DEFAULT_MAX_RADIUS
    """Radius of the ball that the projections reach, in (0, 1)."""
    metrics: Metrics | None = None
    epoch: float | None = None
    run: str | None = None
    path: Path | None = None
    """The file that it was read from."""
    provenance: dict[str, Any] = field(default_factory=dict)
    """Further facts, as JSON values; ``max_radius: assumed`` if the file did not say."""


def save_checkpoint(path: Path | str, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as safetensors, at once: no reader ever sees half a file.

    Raises CheckpointError if the state does not fit the architecture strictly, holds NaN or
    infinity, or if the file cannot be written (full disk, no permission); then nothing is left.
    """
    path = Path(path)
    try:
        _check(checkpoint)
        contents = pack(_float32(checkpoint.state), _facts(checkpoint))
        with replacing(path) as temporary:
            temporary.write_bytes(contents)
    except (CheckpointError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error


def _check(checkpoint: Checkpoint) -> None:
    found = infer_architecture(checkpoint.state)
    if found != checkpoint.architecture:
        raise CheckpointError(f"expected a state of {checkpoint.architecture}, found {found}")
    number("max_radius", checkpoint.max_radius, 1e-6, 1 - 1e-6)
    if checkpoint.metrics is not None:
        find_metrics({"metrics": asdict(checkpoint.metrics)})
    if checkpoint.epoch is not None:
        find_epoch({"epoch": checkpoint.epoch})


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    return {
        "architecture": asdict(checkpoint.architecture),
        "max_radius": checkpoint.max_radius,
        "metrics": checkpoint.metrics and asdict(checkpoint.metrics),
        "epoch": checkpoint.epoch,
        "run": checkpoint.run,
        "provenance": checkpoint.provenance,
    }


def load_checkpoint(path: Path | str) -> Checkpoint:
    """Read a checkpoint of this package (.safetensors) or a published one (.pt, .pth, .ckpt).

    The architecture is read from the parameters' shapes, and every name and shape must fit it. No
    code in the file is run. Raises CheckpointError, naming the file, what was expected and what
    was found, for anything else.
    """
    path = Path(path)
    try:
        check_file(path)
        contents = _read(path)
        state = find_state(contents)
        architecture = infer_architecture(state)
        state = _float32({name: state[name] for name in architecture.shapes()})
        return _checkpoint(path, state, architecture, contents)
    except (CheckpointError, OSError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def _checkpoint(
    path: Path, state: dict[str, Tensor], architecture: Architecture, contents: Mapping[str, Any]
) -> Checkpoint:
    own = contents if contents.get("format") == FORMAT else {}
    stated = own.get("architecture")
    if stated is not None and stated != json.loads(json.dumps(asdict(architecture))):
        raise CheckpointError(f"expected a state of {stated}, found {architecture}")
    max_radius = find_max_radius(contents)
    provenance = dict(own.get("provenance", {}))
    if max_radius is None:
        log.info("%s: no max_radius stored, %s assumed", path, DEFAULT_MAX_RADIUS)
        provenance["max_radius"] = "assumed"
    return Checkpoint(
        state=state,
        architecture=architecture,
        max_radius=DEFAULT_MAX_RADIUS if max_radius is None else max_radius,
        metrics=find_metrics(contents),
        epoch=find_epoch(contents),
        run=own.get("run"),
        path=path,
        provenance=provenance,
    )


def _read(path: Path) -> Any:
    """Contents in the shape of a published checkpoint."""
    if path.suffix in TORCH_SUFFIXES:
        return read_torch(path)
    if path.suffix == ".safetensors":
        return unpack(path)
    raise CheckpointError(f"expected one of {', '.join(SUFFIXES)}, found {path.suffix!r}")


def _float32(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Own, contiguous float32 copies; raises CheckpointError for other data and for NaN or inf."""
    result = {}
    for name, tensor in state.items():
        if tensor.layout != torch.strided or tensor.is_meta or not tensor.is_floating_point():
            raise CheckpointError(f"expected {name} as dense floats, found {tensor.dtype}")
        result[name] = tensor.detach().to("cpu", torch.float32).contiguous().clone()
    if bad := [name for name, tensor in result.items() if not tensor.isfinite().all()]:
        raise CheckpointError(f"expected finite weights, found NaN or infinity in {few(bad)}")
    return result


def sha256_of(path: Path | str) -> str:
    """SHA-256 of a file's bytes, as 64 hex digits."""
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
