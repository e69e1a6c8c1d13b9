"""Fit the map of a subject from its past runs.

Strengths and widths are chosen on validation runs; the mean of the readers also on training runs,
each predicted by readers that were fitted without it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from epsvae.bootstrap import run_weights
from epsvae.checkpoints import StateFile
from epsvae.errors import LibraryError
from epsvae.folders import Example
from epsvae.map.asking import Split, ask, ask_train
from epsvae.map.calibrated import Facts, Place
from epsvae.map.intervals import Intervals, calibrate
from epsvae.map.novelty import Novelty, fit_novelty
from epsvae.map.quadrature import QuadratureMap, Reading
from epsvae.map.readers import READERS, Choices, Readers, choose, fit_readers, simplex
from epsvae.map.weighing import fit_weights
from epsvae.subject import Metric, Subject
from epsvae.torch_files import find_state
from epsvae.users_code import UsersCode

FOLDS = 5
"""Groups of training runs; each is predicted by readers that were fitted to the others."""
STRENGTHS = tuple(10.0**k for k in range(-8, 1))
"""Of the ridge regression of the geometry, relative to the largest variance."""
SMALLEST_SPREAD = 1e-5
TINY = 1e-12


@dataclass(frozen=True, eq=False)
class FittedMap:
    """A map and what says how far to trust it; they are saved together."""

    model: QuadratureMap
    intervals: Intervals
    novelty: Novelty
    calibrated = True

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """What is predicted: the subject's metrics."""
        return self.model.subject.metrics

    @property
    def latent_dim(self) -> int:
        """Numbers in z."""
        return self.model.config.latent_dim

    def open(self, file: Path) -> StateFile:
        """Read a file; raises CheckpointError, naming it, for one that is no checkpoint."""
        return self.model.subject.read(file)

    def take(self, network: nn.Module | Mapping[str, Tensor]) -> StateFile:
        """A network in memory, or its state dict."""
        contents = network.state_dict() if isinstance(network, nn.Module) else network
        state = {name: value.detach().cpu() for name, value in find_state(contents).items()}
        return StateFile(Path("a network"), state)

    def facts(self, checkpoint: StateFile) -> Facts:
        """What a checkpoint says of itself."""
        return Facts(None, checkpoint.step, checkpoint.metrics)

    @torch.no_grad()
    def look(self, checkpoint: StateFile) -> Place:
        """Run the probes through a checkpoint, once."""
        model, source = self.model, str(checkpoint.path)
        with UsersCode(source, f"a checkpoint of {model.subject.name}"):
            probes = model.subject.inputs[model.probes]
            answers = model.subject.answer_stack([checkpoint.state], probes)
        if not answers.isfinite().all():
            unknown = np.full(len(self.metrics), np.nan)
            z = torch.full((self.latent_dim,), torch.nan)
            return Place(z, unknown, unknown, unknown, float("inf"), "answers (not finite)")
        reading = model.read(answers)
        z = model.latent(reading)
        low, high = self.intervals(model, z)
        ends = low[0].double().numpy(), high[0].double().numpy()
        metrics = model.predict_metrics(z)[0].double().numpy()
        blocks = self.novelty.scores(reading.blocks())
        found = [f"{name} ({float(x[0]):.1f})" for name, x in blocks.items() if x[0] > 1]
        off_map = max(float(x[0]) for x in blocks.values())
        return Place(z[0], metrics, *ends, off_map, ", ".join(found))

    def predict_metrics(self, z: Float[Tensor, "*batch latent"]) -> Float[Tensor, "*batch metrics"]:
        """Metrics of points of z."""
        return self.model.predict_metrics(z)


def fit_map(
    subject: Subject,
    train: Iterable[Example],
    validation: Iterable[Example],
    n_inputs: int = 64,
    seed: int = 0,
    progress: bool = False,
) -> FittedMap:
    """The map of a subject from training runs, its choices made with validation runs.

    `n_inputs` of the subject's inputs are the probes. Each checkpoint runs once, over probes and
    anchors; states are taken from `train` and `validation` as they are needed, so that both may
    read from disk. Raises LibraryError without checkpoints or with too small a pool of inputs.
    """
    if not 1 <= n_inputs <= len(subject.inputs):
        raise LibraryError(
            f"n_inputs: expected 1 to {len(subject.inputs)}, all inputs of the subject, "
            f"found {n_inputs}"
        )
    with torch.no_grad():
        model, learned = ask_train(subject, train, n_inputs, seed, progress)
        held_out = ask(model, validation, progress)
        _fit_geometry(model, learned, held_out)
        _fit_summaries(model, learned, held_out)
        known, other = reading_of(model, learned), reading_of(model, held_out)
        rest = _uncounted(model, learned, known), _uncounted(model, held_out, other)
        choices = choose((known.features, rest[0]), (other.features, rest[1]))
        readers = fit_readers(known.features, rest[0], choices, seed)
        metrics = torch.cat([learned.replies.metrics, held_out.replies.metrics])
        runs = np.concatenate([learned.replies.runs, held_out.replies.runs])
        unseen = _without_own_runs(model, learned, held_out, choices)
        said = torch.cat([unseen, readers.each(other.features, other.counts)], 1)
        readers.weigh(_weigh(model, said, metrics, runs))
        set_readers(model, readers)
        codes = torch.cat([model.geometry(known.scores), model.geometry(other.scores)])
        z = torch.cat([codes, (said * readers.weights[:, None]).sum(0)], 1)
        intervals = calibrate(model, z, metrics, runs)
        novelty = fit_novelty(known.blocks(), learned.replies.runs, other.blocks())
    return FittedMap(model, intervals, novelty)


def set_readers(model: QuadratureMap, readers: Readers) -> None:
    """Give a map its readers, and its config their sizes."""
    n_nodes = tuple(len(forest.value) for forest in readers.forests)
    model.config = replace(model.config, n_centres=len(readers.centres), n_nodes=n_nodes)
    model.readers = readers.requires_grad_(False)


def _fit_geometry(model: QuadratureMap, train: Split, validation: Split) -> None:
    """Codes are principal components of the anchors' answers, all on one scale."""
    _, values, directions = torch.linalg.svd(train.coordinates, full_matrices=False)
    turn = directions[: model.geometry_dim].T
    spread = values[: model.geometry_dim] / len(train.coordinates) ** 0.5
    scale = spread.square().mean().sqrt().clamp_min(TINY)
    model.decoder.weight.zero_()
    model.decoder.weight[:, : turn.shape[1]] = turn * scale
    model.decoder.bias.zero_()
    missing = model.geometry_dim - turn.shape[1]
    codes = [pad(s.coordinates @ turn / scale, (0, missing)) for s in (train, validation)]
    _fit_linear(model.geometry, (train.scores, codes[0]), (validation.scores, codes[1]))


def _fit_linear(
    layer: nn.Linear, train: tuple[Tensor, Tensor], validation: tuple[Tensor, Tensor]
) -> None:
    """Ridge regression on features of one common scale, without intercept: principal scores, whose
    small directions are noise and must stay small. Validation rows choose the strength."""
    (x, y), (held_x, held_y) = ([part.double() for part in pair] for pair in (train, validation))
    values, basis = torch.linalg.eigh(x.T @ x / len(x))
    rotated = basis.T @ (x.T @ y / len(x))
    slopes = [
        basis @ (rotated / (values.clamp_min(0) + strength * values[-1] + TINY)[:, None])
        for strength in STRENGTHS
    ]
    errors = [float((held_x @ slope - held_y).square().mean()) for slope in slopes]
    layer.weight.copy_(slopes[int(np.argmin(errors))].T)
    layer.bias.zero_()


def _fit_summaries(model: QuadratureMap, train: Split, validation: Split) -> None:
    """Fit the probes' weights, the places of soft counts, and the metrics' common scale."""
    model.summaries.weights.copy_(fit_weights(_means(model, train), _means(model, validation)))
    model.summaries.fit(train.replies.kept.columns)
    linked = model.link(train.replies.metrics)
    spread = linked.std(0, correction=0)
    model.shift.copy_(linked.mean(0))
    model.scale.copy_(torch.where(spread > SMALLEST_SPREAD, spread, 1.0))


def reading_of(model: QuadratureMap, split: Split) -> Reading:
    """What the readers see of a split."""
    return model.reading(split.replies.kept.columns, split.scores)


def _uncounted(model: QuadratureMap, split: Split, reading: Reading) -> Float[Tensor, "n metrics"]:
    """What the count leaves of the metrics, on their linked scale: the readers' targets."""
    return model.link(split.replies.metrics) - reading.counts.nan_to_num(nan=0.0)


def _means(model: QuadratureMap, split: Split) -> tuple[Tensor, Tensor]:
    """(columns of the probes, the means that they stand for): the items and the metrics that are
    their means; without items every column and its mean over anchors and probes."""
    columns, means = split.replies.kept
    if n := len(model.config.counted):
        return columns[:, :, -n:], split.replies.metrics[:, list(model.config.counted)]
    return columns, means


def _weigh(
    model: QuadratureMap,
    said: Float[Tensor, "readers n metrics"],
    metrics: Float[Tensor, "n metrics"],
    runs: np.ndarray,
) -> Float[Tensor, "readers metrics"]:
    """The mean of readers with the smallest absolute error on runs that they were not fitted to,
    each run counting the same; a count that is not there gets no weight."""
    weight = torch.from_numpy(run_weights(runs)).float()
    counted = torch.zeros(metrics.shape[1], dtype=torch.bool)
    counted[list(model.config.counted)] = True
    best = torch.full((len(counted),), torch.inf)
    chosen = said.new_zeros(len(said), len(counted))
    for mixture in simplex(len(said)):
        predicted = model.unlink((said * mixture[:, None, None]).sum(0))
        errors = weight @ (predicted - metrics).abs()
        better = (errors < best) & (counted | (mixture[0] == 0))
        best = torch.where(better, errors, best)
        chosen = torch.where(better, mixture[:, None], chosen)
    return chosen


def _without_own_runs(
    model: QuadratureMap, train: Split, validation: Split, choices: Choices
) -> Float[Tensor, "readers n metrics"]:
    """What each reader says of a training checkpoint, the probes weighed and the readers fitted
    without the checkpoint's fold of runs."""
    runs, weights = train.replies.runs, model.summaries.weights.clone()
    fold = torch.from_numpy(np.unique(runs, return_inverse=True)[1] % FOLDS)
    said = torch.zeros(len(READERS), *train.replies.metrics.shape)
    for here in (fold == number for number in fold.unique()):
        rest = ~here if (~here).any() else here
        columns, means = _means(model, train)
        others = columns[rest], means[rest]
        model.summaries.weights.copy_(fit_weights(others, _means(model, validation)))
        reading = reading_of(model, train)
        targets = _uncounted(model, train, reading)
        rows = reading.features[rest], targets[rest]
        readers = fit_readers(*rows, choices, model.config.seed)
        said[:, here] = readers.each(reading.features[here], reading.counts[here])
    model.summaries.weights.copy_(weights)
    return said
