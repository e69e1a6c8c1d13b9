"""A fitted map in one file: tensors, and as JSON what they are; no code is stored or run.

A map is useful with its subject only, whose inputs it asks: it remembers the subject's name, its
metrics and a fingerprint of the inputs, and refuses another.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from epsvae.atomic import replacing
from epsvae.errors import CheckpointError, SubjectError
from epsvae.map.intervals import Intervals
from epsvae.map.learn import FittedMap
from epsvae.map.novelty import Distance, Novelty, Scale
from epsvae.map.quadrature import QuadratureConfig, QuadratureMap
from epsvae.map.questions import TOLERANCE, fingerprint
from epsvae.subject import Subject

FORMAT = "epsvae-subject-map-2"
PARTS = ("mean", "spread", "basis", "variance", "rest")
"""Tensors of a `Distance`."""
INTERVALS = ("z", "errors", "quantiles")
HALF = ("map/probe_basis", "map/anchor_basis", "map/readers.centres", "intervals/z")
"""Tensors of numbers that half precision holds: see `epsvae.map.half`."""
WHOLE = (torch.uint8, torch.int16, torch.int32, torch.int64)
"""Whole numbers are stored in the first of these that holds them all."""


def save_map(fitted: FittedMap, path: Path | str) -> None:
    """Write a map with its intervals and its off-map score, at once.

    Raises CheckpointError if it cannot be written; nothing is left then.
    """
    path = Path(path)
    contents = save(_tensors(fitted), {"format": FORMAT, "facts": json.dumps(_facts(fitted))})
    try:
        with replacing(path) as temporary:
            temporary.write_bytes(contents)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error}") from error


def is_subject_map(path: Path | str) -> bool:
    """Is the file a map of this format? Reads its head only."""
    try:
        with safe_open(path, framework="pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def load_map(path: Path | str, subject: Subject) -> FittedMap:
    """Read a map for use with its subject.

    Raises CheckpointError, naming the file, for what is not a whole map, and SubjectError if it is
    the map of another subject or of other inputs. Sizes are compared before anything is read.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: expected a map, found no file")
    try:
        with safe_open(path, framework="pt") as file:
            facts = _read_facts(file.metadata() or {})
            _check_subject(facts, subject)
            model = _empty(facts, subject)
            _check_sizes(model, {n: file.get_slice(n).get_shape() for n in file.keys()})  # noqa: SIM118
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        fitted = _assemble(model, tensors, facts)
    except (CheckpointError, SubjectError) as error:
        raise type(error)(f"{path}: {error}") from error
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise CheckpointError(f"{path}: expected a whole map, found {reason:.300}") from error
    _check_inputs(path, fitted.model)
    return fitted


def _tensors(fitted: FittedMap) -> dict[str, Tensor]:
    tensors = {f"map/{name}": value for name, value in fitted.model.state_dict().items()}
    tensors |= {f"intervals/{name}": getattr(fitted.intervals, name) for name in INTERVALS}
    for block, distance in fitted.novelty.distances.items():
        tensors |= {f"novelty/{block}/{part}": getattr(distance, part) for part in PARTS}
    return {name: _packed(name, tensor) for name, tensor in tensors.items()}


def _packed(name: str, tensor: Tensor) -> Tensor:
    """The same numbers in less room."""
    kind = torch.half if name in HALF else tensor.dtype
    if not tensor.is_floating_point():
        low, high = int(tensor.min()), int(tensor.max())
        kinds = (k for k in WHOLE if torch.iinfo(k).min <= low and high <= torch.iinfo(k).max)
        kind = next(kinds)
    return tensor.to(kind).contiguous().clone()


def _facts(fitted: FittedMap) -> dict[str, Any]:
    subject, novelty = fitted.model.subject, fitted.novelty
    return {
        "subject": subject.name,
        "metrics": [_metric_facts(subject, m.name) for m in subject.metrics],
        "config": fitted.model.config.asdict(),
        "scales": {name: [s.typical, s.rare] for name, s in novelty.scales.items()},
        "threshold": novelty.threshold,
    }


def _metric_facts(subject: Subject, name: str) -> list[Any]:
    """JSON has no infinity: an open end is null."""
    metric = subject.metric(name)
    ends = [end if math.isfinite(end) else None for end in (metric.low, metric.high)]
    return [metric.name, *ends, metric.better]


def _read_facts(metadata: Mapping[str, str]) -> dict[str, Any]:
    if (found := metadata.get("format")) != FORMAT:
        raise CheckpointError(f"expected a map of format {FORMAT}, found {found!r:.60}")
    facts = json.loads(metadata["facts"])
    if not isinstance(facts, dict):
        raise CheckpointError(f"expected facts as a mapping, found {type(facts).__name__}")
    return facts


def _check_subject(facts: Mapping[str, Any], subject: Subject) -> None:
    if facts["subject"] != subject.name:
        raise SubjectError(
            f"expected the subject {facts['subject']!r:.60}, of which this is a map, "
            f"found {subject.name!r}"
        )
    own = [_metric_facts(subject, metric.name) for metric in subject.metrics]
    if facts["metrics"] != own:
        raise SubjectError(
            f"expected the metrics {facts['metrics']}, which this map predicts, found {own}"
        )


def _empty(facts: Mapping[str, Any], subject: Subject) -> QuadratureMap:
    """The map without memory for its numbers."""
    config = dict(facts["config"])
    config |= {name: tuple(config[name]) for name in ("n_nodes", "counted")}
    with torch.device("meta"):
        return QuadratureMap(QuadratureConfig(**config), subject)


def _check_sizes(model: QuadratureMap, found: Mapping[str, list[int]]) -> None:
    for name, tensor in model.state_dict().items():
        size = found.get(f"map/{name}")
        if size != list(tensor.shape):
            raise CheckpointError(
                f"expected {name} of shape {list(tensor.shape)}, found {size or 'nothing'}"
            )


def _assemble(
    model: QuadratureMap, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> FittedMap:
    bad = [n for n, t in tensors.items() if t.isnan().any()]
    if bad:
        raise CheckpointError(f"expected numbers, found NaN in {', '.join(bad[:3])}")
    tensors = {n: t.float() if t.is_floating_point() else t for n, t in tensors.items()}
    own = {n: tensors[f"map/{n}"].to(t.dtype) for n, t in model.state_dict().items()}
    model.load_state_dict(own, assign=True)
    n_features = len(model.readers.mean)
    if not all(forest.fits(n_features) for forest in model.readers.forests):
        raise CheckpointError("expected trees whose nodes are there, found others")
    scales = {name: Scale(*map(float, ends)) for name, ends in facts["scales"].items()}
    distances = {
        name: Distance(*(tensors[f"novelty/{name}/{part}"] for part in PARTS)) for name in scales
    }
    return FittedMap(
        model.requires_grad_(False).eval(),
        Intervals(*(tensors[f"intervals/{name}"] for name in INTERVALS)),
        Novelty(distances, scales, float(facts["threshold"])),
    )


def _check_inputs(path: Path, model: QuadratureMap) -> None:
    """Raise SubjectError if the subject's inputs are not those that the map was fitted with."""
    subject, places = model.subject, model.questions.places
    n = len(subject.inputs)
    if int(places.min()) < 0 or int(places.max()) >= n:
        raise SubjectError(
            f"{path}: expected a subject of at least {int(places.max()) + 1} inputs, found {n}"
        )
    now = fingerprint(subject.inputs, subject.targets, places)
    if not torch.allclose(now, model.known, rtol=TOLERANCE, atol=TOLERANCE):
        n_other = int(
            (~torch.isclose(now, model.known, rtol=TOLERANCE, atol=TOLERANCE)).any(1).sum()
        )
        raise SubjectError(
            f"{path}: expected the inputs that the map was fitted with, found {n_other} of "
            f"{len(places)} changed; fit the map anew, or use the subject as it was"
        )
