"""Reading a network's architecture from the names and shapes of its parameters."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from itertools import count
from math import prod
from typing import Any

from torch import Tensor

from epsvae.errors import CheckpointError, few
from epsvae.subjects.ternary import Architecture

MAX_PARAMETERS = 10_000_000
"""A hundred published networks; a file that claims more is not one of them."""

Shapes = Mapping[str, tuple[int, ...]]


def infer_architecture(state: Mapping[str, Tensor]) -> Architecture:
    """Architecture of a state, strictly: every name and every shape must fit.

    Raises CheckpointError if a parameter is missing, unexpected or of another shape, and if the
    parameters are not those of a TernaryVAE at all.
    """
    found = {name: tuple(tensor.shape) for name, tensor in state.items()}
    architecture = _guess(found)
    expected = architecture.shapes()
    if missing := [name for name in expected if name not in found]:
        raise CheckpointError(f"expected the parameters of {architecture}, missing {few(missing)}")
    if extra := [name for name in found if name not in expected]:
        raise CheckpointError(f"expected no parameters beside {architecture}'s, found {few(extra)}")
    if wrong := [name for name in expected if found[name] != expected[name]]:
        wanted = few(f"{name} {expected[name]}" for name in wrong)
        raise CheckpointError(f"expected {wanted}, found {few(str(found[n]) for n in wrong)}")
    total = sum(prod(shape) for shape in expected.values())
    if total > MAX_PARAMETERS:
        raise CheckpointError(f"expected at most {MAX_PARAMETERS} parameters, found {total}")
    return architecture


def _guess(shapes: Shapes) -> Architecture:
    """The only architecture that could fit; whether it does is not checked here."""
    shared = "projection.direction_net.0.weight" in shapes
    direction = ("projection" if shared else "projection.proj_A") + ".direction_net"
    trunk = _widths(shapes, "encoder_A.encoder")
    decoder = _widths(shapes, "decoder_A.decoder")
    latent = shapes.get("encoder_A.fc_mu.weight", ())
    first = shapes.get(f"{direction}.0.weight", ())
    if not (trunk and decoder and len(latent) == 2 and len(first) == 2):
        raise CheckpointError(
            "expected the parameters of a TernaryVAE (encoder_A.encoder.0.weight, "
            "encoder_A.fc_mu.weight, decoder_A.decoder.0.weight, "
            f"projection.proj_A.direction_net.0.weight, ...), found {few(shapes) or 'none'}"
        )
    norm = re.compile(re.escape(direction) + r"\.\d+\.weight")
    return Architecture(
        encoder_widths=trunk,
        latent_dim=latent[0],
        decoder_widths=decoder[:-1],
        projection_hidden=first[0],
        projection_layers=max(1, sum(len(s) == 1 for n, s in shapes.items() if norm.fullmatch(n))),
        projection_dropout=f"{direction}.3.weight" not in shapes,
        shared_projection=shared,
    )


def _widths(shapes: Shapes, prefix: str) -> tuple[int, ...]:
    """Output widths of the linear layers prefix.0, prefix.2, ..."""
    widths: list[int] = []
    for index in count(0, 2):
        shape = shapes.get(f"{prefix}.{index}.weight", ())
        if len(shape) != 2:
            return tuple(widths)
        widths.append(shape[0])
    raise AssertionError("unreachable: the counter never ends")


def architecture_to_json(architecture: Architecture) -> str:
    """An architecture in one line of JSON, the same line for the same architecture."""
    return json.dumps(asdict(architecture))


def architecture_from_json(plain: str | Mapping[str, Any]) -> Architecture:
    """The architecture behind `architecture_to_json`, also from its parsed form.

    Raises TypeError if a field is unknown.
    """
    fields = json.loads(plain) if isinstance(plain, str) else plain
    values: dict[str, Any] = {n: tuple(v) if isinstance(v, list) else v for n, v in fields.items()}
    return Architecture(**values)
