"""Virtual checkpoints: networks decoded from z, run like any other, and kept as files.

What the map predicts for a z is a promise. It counts as kept only when the decoded network, run on
all operations, does it: its *realised* metrics and embeddings.
"""

import hashlib
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from joblib import Parallel, delayed
from torch import Tensor

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES, Architecture, Metrics, evaluate_with_points
from epsvae.subjects.ternary.library.anchors import anchor_operations
from epsvae.subjects.ternary.library.files import Checkpoint
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.network import State
from epsvae.threads import one_thread
from epsvae.uses.average import refuse_infinite

AT_ONCE = 8
"""Networks that a worker decodes and runs at a time."""


class Realised(NamedTuple):
    """What networks did when they were run."""

    metrics: Float[Tensor, "*batch 3"]
    """Over all operations, float64, in the order of `METRIC_NAMES`."""
    embeddings: Float[Tensor, "*batch anchors dim"]
    """Points of the Poincaré ball for the anchor operations."""


def realise(model: EpsilonVAE, z: Float[Tensor, "*batch latent"], n_jobs: int = 2) -> Realised:
    """Decode every z and run the network: some 20 ms a point on two cores.

    Raises EpsvaeError for a map without a weight decoder and for a z that is not finite.
    """
    batch = z.reshape(-1, z.shape[-1])
    refuse_infinite(batch)
    found = _run_parts(model.config.architecture, batch, model.decode_state, n_jobs)
    return Realised(*(x.view(*z.shape[:-1], *x.shape[1:]) for x in found))


def run_weights(
    architecture: Architecture, weights: Float[Tensor, "n weights"], n_jobs: int = 2
) -> Realised:
    """Run networks given as vectors of all parameters, wherever these come from.

    Raises EpsvaeError if an embedding is NaN or infinite.
    """
    return _run_parts(architecture, weights, all_layout(architecture).unflatten, n_jobs)


def virtual_checkpoint(
    model: EpsilonVAE,
    z: Float[Tensor, "latent"],
    predicted: Metrics | None = None,
    provenance: Mapping[str, Any] | None = None,
) -> Checkpoint:
    """The network behind a z as an ordinary checkpoint, for `save_checkpoint`.

    It says of itself that it is virtual, which map and z it is decoded from and what was predicted
    (by default what the map predicts for z); `provenance` adds facts as JSON values, such as a
    ``source``. Its own metrics are unknown until it is run. Raises EpsvaeError for a map without
    a weight decoder and for a z that is not finite.
    """
    refuse_infinite(z[None])
    with torch.no_grad():
        architecture = model.config.architecture
        state = all_layout(architecture).unflatten(model.decode_weights(z))
        if predicted is None:
            predicted = Metrics(*model.predict_metrics(z).tolist())
    facts = {
        "virtual": True,
        "map_sha256": map_sha256(model),
        "z": z.tolist(),
        "predicted": predicted.asdict(),
    }
    return Checkpoint(
        state={name: state[name] for name in architecture.shapes()},
        architecture=architecture,
        max_radius=float(state[MAX_RADIUS]),
        provenance={**facts, **(provenance or {})},
    )


def map_sha256(model: EpsilonVAE) -> str:
    """SHA-256 of a map's configuration and parameters, as 64 hex digits; the same for any file
    that holds them."""
    digest = hashlib.sha256(repr(model.config).encode())
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


Decode = Callable[[Tensor], State]
"""Rows of a batch -> their networks as one stack."""


def _run_parts(
    architecture: Architecture, batch: Float[Tensor, "n _"], decode: Decode, n_jobs: int
) -> Realised:
    """Threads, since torch works outside Python's lock: nothing is copied, no process starts.

    Each decodes what it runs, so that decoding is shared, too.
    """
    anchors = anchor_operations()
    with one_thread():
        found = Parallel(n_jobs=n_jobs, prefer="threads")(
            delayed(_run)(architecture, decode, part, anchors) for part in batch.split(AT_ONCE)
        )
    metrics, embeddings = zip(*found, strict=True)
    return Realised(torch.cat(metrics), torch.cat(embeddings))


@torch.no_grad()  # here, because each thread has a mode of its own
def _run(
    architecture: Architecture,
    decode: Decode,
    part: Float[Tensor, "n _"],
    anchors: Int[Tensor, "anchors"],
) -> Realised:
    stack = decode(part)
    metrics = torch.zeros(len(part), len(METRIC_NAMES), dtype=torch.float64)
    embeddings = torch.zeros(len(part), len(anchors), architecture.latent_dim)
    for row in range(len(part)):
        state = {name: values[row] for name, values in stack.items()}
        metrics[row], embeddings[row] = _run_one(architecture, state, anchors)
    return Realised(metrics, embeddings)


def _run_one(architecture: Architecture, state: State, anchors: Int[Tensor, "anchors"]) -> Realised:
    try:
        found, points = evaluate_with_points(state, architecture, float(state[MAX_RADIUS]))
    except ValueError as error:
        raise EpsvaeError(f"weights: {error}") from error
    return Realised(torch.from_numpy(found.vector()), points[anchors])
