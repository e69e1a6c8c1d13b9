"""Reading `torch.save` files of anyone without trusting them."""

import argparse
import pickle
import re
import struct
import warnings
import zipfile
from collections.abc import Mapping
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from epsvae.errors import CheckpointError, few

STATE_KEYS = ("model_state_dict", "model_state", "state_dict", "model")
"""Where a published checkpoint may hold its parameters."""
WRAPPERS = ("module.", "_orig_mod.")
"""Prefixes that DataParallel and torch.compile put before every name."""
_CALLS = re.compile(r"(?:[Uu]nsupported (?:global: )?GLOBAL|unrecognized function) (\S+)")
"""How `torch.load` names the code that a pickle wants to call."""
_NOT_A_PICKLE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    OverflowError,
    MemoryError,
    struct.error,
    zipfile.BadZipFile,
)
"""What `torch.load` raises on bytes that are not its own."""


_NUMPY_SCALAR: Any = np.float64().__reduce__()[0]
_PLAIN_DATA: list[Any] = [
    (_NUMPY_SCALAR, "numpy._core.multiarray.scalar"),
    (_NUMPY_SCALAR, "numpy.core.multiarray.scalar"),
    np.dtype,
    *(type(np.dtype(kind)) for kind in ("f4", "f8", "i4", "i8", "?")),
    argparse.Namespace,
]
"""Data that published files carry beside tensors (metrics as numpy numbers, parsed arguments)."""


def read_torch(path: Path) -> Any:
    """Contents of a `torch.save` file. Only tensors and plain data are built, no code is run.

    Raises CheckpointError for a file that is damaged, not a checkpoint, or wants to run code.
    """
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals(_PLAIN_DATA):
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        found = _CALLS.search(str(error))
        if found is None:
            raise _damaged(error) from error
        raise CheckpointError(
            "expected tensors and plain data, found a pickle that calls other code "
            f"({found.group(1)}); it was not run"
        ) from error
    except PermissionError:
        raise
    except _NOT_A_PICKLE as error:
        raise _damaged(error) from error


def _damaged(error: BaseException) -> CheckpointError:
    reason = str(error).partition("WeightsUnpickler error:")[2] or str(error)
    reason = " ".join(reason.split())[:120]
    return CheckpointError(
        "expected a checkpoint saved by torch.save, found a damaged or other file, of which "
        f"nothing was run ({type(error).__name__}: {reason})"
    )


def find_state(contents: Any) -> dict[str, Tensor]:
    """The state dict within a checkpoint's contents, without the prefix of a wrapper.

    Raises CheckpointError if there is none, or more than one.
    """
    if not isinstance(contents, Mapping):
        raise CheckpointError(f"expected a mapping, found {type(contents).__name__}")
    held = [key for key in STATE_KEYS if isinstance(contents.get(key), Mapping)]
    if len(held) > 1:
        raise CheckpointError(f"expected one state dict, found {', '.join(held)}")
    state = contents[held[0]] if held else contents
    if not state or not all(isinstance(value, Tensor) for value in state.values()):
        wrong = [f"{k}: {type(v).__name__}" for k, v in state.items() if not isinstance(v, Tensor)]
        raise CheckpointError(
            f"expected a state dict of tensors under {', '.join(STATE_KEYS)} or at the top, "
            f"found {few(wrong) or 'an empty mapping'}"
        )
    return _unwrap({str(name): value for name, value in state.items()})


def _unwrap(state: dict[str, Tensor]) -> dict[str, Tensor]:
    for prefix in WRAPPERS:
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def number(name: str, value: Any, lowest: float, highest: float) -> float:
    """A stored number as a float; raises CheckpointError if it is none or not in its range."""
    if isinstance(value, Tensor) and value.numel() == 1:
        value = value.item()
    is_number = isinstance(value, Real) and not isinstance(value, bool)
    if is_number and lowest <= float(value) <= highest:
        return float(value)
    raise CheckpointError(f"expected {name} in [{lowest:g}, {highest:g}], found {value!r:.80}")
