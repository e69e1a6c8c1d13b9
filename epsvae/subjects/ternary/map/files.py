"""Maps on disk: one file holds the kind, the configuration and the parameters."""

from dataclasses import asdict
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from epsvae.atomic import replacing
from epsvae.errors import CheckpointError, few
from epsvae.subjects.ternary.library.architecture import architecture_from_json
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.seed import SeedConfig, SeedVAE
from epsvae.subjects.ternary.map.weights_out import WeightDecoderConfig
from epsvae.torch_files import read_torch

FORMAT = "epsvae-map-2"
AnyMap = EpsilonVAE | SeedVAE


def save_map(model: AnyMap, path: Path | str) -> None:
    """Write a map, at once; `load_epsilon_vae` reads it back.

    Raises CheckpointError if it cannot be written (full disk, no permission); nothing is left then.
    """
    path = Path(path)
    contents = {
        "format": FORMAT,
        "kind": type(model).__name__,
        "config": asdict(model.config),
        "state": model.state_dict(),
    }
    buffer = BytesIO()  # on a full disk torch.save itself would not say so
    torch.save(contents, buffer)
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(buffer.getvalue())
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error


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
    found = contents.get("format") if isinstance(contents, dict) else None
    if found != FORMAT:
        older = str(found).startswith(FORMAT.rstrip("0123456789"))
        what = f"{found:.40}, of another version: fit the map anew" if older else "another file"
        raise CheckpointError(f"{path}: expected a map of format {FORMAT}, found {what}")
    if missing := [name for name in ("kind", "config", "state") if name not in contents]:
        raise CheckpointError(f"{path}: expected a whole map, missing {few(missing)}")
    kind = contents["kind"]
    if kind not in ("EpsilonVAE", "SeedVAE"):
        raise CheckpointError(f"{path}: expected an EpsilonVAE or a SeedVAE, found {kind!r:.80}")
    try:
        model = _build(kind, contents["config"])
        model.load_state_dict(contents["state"])
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: expected a whole {kind}, found {reason:.300}") from error
    if bad := [name for name, value in model.state_dict().items() if value.isnan().any()]:
        raise CheckpointError(f"{path}: expected numbers, found NaN in {few(bad)}")
    return model.eval().requires_grad_(False)


def _build(kind: str, config: dict[str, Any]) -> AnyMap:
    if kind == "EpsilonVAE":
        architecture = architecture_from_json(config["architecture"])
        decoder = config.get("weight_decoder")
        weights_out = None if decoder is None else WeightDecoderConfig(**decoder)
        parts = {"architecture": architecture, "weight_decoder": weights_out}
        return EpsilonVAE(MapConfig(**(config | parts)))
    return SeedVAE(SeedConfig(**config))
