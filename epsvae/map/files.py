"""Maps on disk: one file holds the kind, the configuration and the parameters."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from epsvae.errors import CheckpointError
from epsvae.library.atomic import replacing
from epsvae.library.published import read_torch
from epsvae.library.runs import architecture_from_json
from epsvae.map.model import EpsilonVAE, MapConfig
from epsvae.map.seed import SeedConfig, SeedVAE

FORMAT = "epsvae-map-1"
AnyMap = EpsilonVAE | SeedVAE


def save_map(model: AnyMap, path: Path | str) -> None:
    """Write a map, at once; `load_epsilon_vae` reads it back."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    contents = {
        "format": FORMAT,
        "kind": type(model).__name__,
        "config": asdict(model.config),
        "state": model.state_dict(),
    }
    with replacing(path) as temporary:
        torch.save(contents, temporary)


def load_epsilon_vae(path: Path | str) -> AnyMap:
    """Read a map for use, in evaluation mode and without gradients; no code in the file is run.

    Raises CheckpointError, naming the file, what was expected and what was found.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a map, found no file")
    try:
        contents = read_torch(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise CheckpointError(f"{path}: expected a map of format {FORMAT}, found another file")
    model = _build(contents["kind"], contents["config"], path)
    try:
        model.load_state_dict(contents["state"])
    except RuntimeError as error:
        raise CheckpointError(f"{path}: expected a whole {contents['kind']}, {error}") from error
    return model.eval().requires_grad_(False)


def _build(kind: str, config: dict[str, Any], path: Path) -> AnyMap:
    if kind == "EpsilonVAE":
        architecture = architecture_from_json(config["architecture"])
        return EpsilonVAE(MapConfig(**(config | {"architecture": architecture})))
    if kind == "SeedVAE":
        return SeedVAE(SeedConfig(**config))
    raise CheckpointError(f"{path}: expected an EpsilonVAE or a SeedVAE, found {kind!r}")
