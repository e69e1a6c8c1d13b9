"""Checkpoints of any network on disk: state dicts in and out, and the folders that hold them.

A library is `<root>/<run>/` or `<root>/<split>/<run>/`, one folder a run; files that this package
writes carry their step and their metrics.
"""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from epsvae.atomic import replacing
from epsvae.errors import CheckpointError
from epsvae.torch_files import find_state, read_torch

if TYPE_CHECKING:
    import pandas as pd

TORCH_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin")
SUFFIXES = (".safetensors", *TORCH_SUFFIXES)
STEP_KEYS = ("step", "global_step", "epoch")
"""Where a file may say how long it was trained, the first that it has."""


@dataclass(frozen=True, eq=False)
class StateFile:
    """A checkpoint as its file tells it; None stands for what the file does not say."""

    path: Path
    state: dict[str, Tensor]
    step: float | None = None
    metrics: dict[str, float] | None = None

    @property
    def run(self) -> str:
        """The folder that holds the file: its checkpoints belong to one training."""
        return str(self.path.parent)


def read_state(path: Path | str) -> StateFile:
    """Read a state dict: a safetensors file, or one of `torch.save` with plain data in it.

    The state lies under `state_dict`, `model_state_dict`, `model_state`, `model` or at the top. No
    code in the file is run. Raises CheckpointError, naming the file, for what is not a whole
    checkpoint and for NaN or infinity in it.
    """
    path = Path(path)
    try:
        check_file(path)
        state, facts = _contents(path)
        _check_finite(state)
        return StateFile(path, state, _step(path, facts), _metrics(facts))
    except (CheckpointError, OSError) as error:
        raise CheckpointError(f"{path}: {error}") from error


def check_file(path: Path) -> None:
    """Raise CheckpointError if there is no file, or nothing in it."""
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise CheckpointError(f"expected a checkpoint file, found {found}")
    if path.stat().st_size == 0:
        raise CheckpointError("expected a checkpoint, found an empty file")


def write_state(
    path: Path | str,
    state: Mapping[str, Tensor],
    step: float | int | None = None,
    metrics: Mapping[str, float] | None = None,
) -> None:
    """Write a state dict as safetensors, at once, with its step and metrics beside it.

    Raises CheckpointError for NaN or infinity, and if the file cannot be written; nothing is left
    then.
    """
    path = Path(path)
    facts = {"step": None if step is None else f"{step:g}"}
    facts["metrics"] = None if metrics is None else json.dumps(dict(metrics), sort_keys=True)
    try:
        _check_finite(state)
        own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in state.items()}
        contents = save(own, {name: text for name, text in facts.items() if text is not None})
        with replacing(path) as temporary:
            temporary.write_bytes(contents)
    except (CheckpointError, OSError) as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error


def checkpoint_files(path: Path | str) -> list[Path]:
    """A file by itself; of a folder, the checkpoint files in it at any depth, sorted.

    Raises CheckpointError for a folder without any.
    """
    path = Path(path)
    if not path.is_dir():
        return [path]
    known = (file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
    files = sorted(file for file in known if not file.name.startswith("."))
    if not files:
        raise CheckpointError(f"{path}: expected checkpoint files in the folder, found none")
    return files


def find_checkpoints(folder: Path | str) -> "pd.DataFrame":
    """The checkpoint files in a folder, at any depth: columns file, run, step.

    `run` is the file's parent folder, `step` the last number in its name (NaN without one). Sorted
    by run and step. Raises CheckpointError for a folder without any.
    """
    import pandas as pd

    if not Path(folder).is_dir():
        raise CheckpointError(f"{folder}: expected checkpoint files in a folder, found no folder")
    files = checkpoint_files(folder)
    rows = [(str(file), str(file.parent), _step_of_name(file)) for file in files]
    table = pd.DataFrame(rows, columns=["file", "run", "step"])
    return table.sort_values(["run", "step", "file"], ignore_index=True)


def _contents(path: Path) -> tuple[dict[str, Tensor], Mapping[str, Any]]:
    if path.suffix in TORCH_SUFFIXES:
        contents = read_torch(path)
        return find_state(contents), contents
    if path.suffix != ".safetensors":
        raise CheckpointError(f"expected one of {', '.join(SUFFIXES)}, found {path.suffix!r}")
    try:
        with safe_open(path, framework="pt") as file:
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return state, file.metadata() or {}
    except SafetensorError as error:
        raise CheckpointError(f"expected a whole safetensors file, found: {error}") from error


def _check_finite(state: Mapping[str, Tensor]) -> None:
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    if bad := [name for name, tensor in floats.items() if not tensor.isfinite().all()]:
        more = f" and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise CheckpointError(
            f"expected finite weights, found NaN or infinity in {', '.join(bad[:3])}{more}"
        )


def _step(path: Path, facts: Mapping[str, Any]) -> float | None:
    for key in STEP_KEYS:
        if key in facts:
            return _number(key, facts[key])
    step = _step_of_name(path)
    return None if math.isnan(step) else step


def _step_of_name(path: Path) -> float:
    numbers = re.findall(r"\d+", path.stem)
    return float(numbers[-1]) if numbers else math.nan


def _metrics(facts: Mapping[str, Any]) -> dict[str, float] | None:
    stored = facts.get("metrics")
    if isinstance(stored, str):
        try:
            stored = json.loads(stored)
        except (ValueError, RecursionError) as error:
            raise CheckpointError(f"expected metrics in JSON, found {error}") from error
    if not isinstance(stored, Mapping):
        return None
    return {str(name): _number(f"metric {name}", value) for name, value in stored.items()}


def _number(name: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"expected {name} as a number, found {value!r:.80}") from error
    if not math.isfinite(number):
        raise CheckpointError(f"expected {name} as a finite number, found {number}")
    return number
