"""Fit the default map in closed form: principal components to decode, ridge regressions to encode.

Selection (the strength of each ridge) looks at validation runs only.
"""

from collections.abc import Iterable, Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from epsvae.map.ridge import fit_ridge
from epsvae.subjects.ternary.library.extracted import ExtractedSplit
from epsvae.subjects.ternary.map.coverage import CoverageReader, fit_coverage
from epsvae.subjects.ternary.map.curve import fit_curve
from epsvae.subjects.ternary.map.data import MapData, all_weights, embeddings_of, metrics_of
from epsvae.subjects.ternary.map.model import EpsilonVAE, MapConfig
from epsvae.subjects.ternary.map.sweep import Readings
from epsvae.threads import calm

BATCH = 64
SMALLEST_VARIANCE = 1e-6
SMALLEST_SPREAD = 1e-5
"""A metric that varies less is constant: coverage in a library of frozen runs."""
FLAT = 1e-6
"""Share of the largest spread below which a direction has none."""
TINY = 1e-12


@calm()
@torch.no_grad()
def fit_map(data: MapData, config: MapConfig | None = None) -> EpsilonVAE:
    """The map of a library in closed form: some ten seconds for a thousand checkpoints."""
    config = replace(config or MapConfig(), n_centres=len(data.train.metrics))
    model = EpsilonVAE(config).eval()
    model.rest_mean.copy_(torch.from_numpy(data.train.rest[:].mean(0)))
    fit_decoder(model.decoder, embeddings_of(data.train))
    linked = _links(metrics_of(data.train), model)
    model.shift.copy_(linked.mean(0))
    spread = linked.std(0)
    model.scale.copy_(torch.where(spread > SMALLEST_SPREAD, spread, 1.0))
    train, validation = read_split(model, data.train), read_split(model, data.validation)
    model.frame.fit(train.points)
    codes = [
        principal_codes(model.decoder, embeddings_of(s)) for s in (data.train, data.validation)
    ]
    fit_ridge(model.geometry, (train.geometry(), codes[0]), (validation.geometry(), codes[1]))
    _fit_curve(model, codes[0], model.geometry(validation.geometry()), data)
    fit_readers(model.readers, train.metric_features(), validation.metric_features(), data)
    error = model.latent(validation) - true_codes(model, data.validation)
    model.logvar.copy_(error.square().mean(0).clamp_min(SMALLEST_VARIANCE).log())
    variance = true_codes(model, data.train).square().mean(0)
    model.prior_std.copy_(variance.clamp_min(SMALLEST_VARIANCE).sqrt())
    return model


def fit_readers(
    readers: Iterable[nn.Module],
    train: Sequence[Tensor],
    validation: Sequence[Tensor],
    data: MapData,
) -> None:
    """Fit what reads each metric from its features on the training and the validation runs."""
    for metric, reader in enumerate(readers):
        known = train[metric], metrics_of(data.train)[:, [metric]]
        held_out = validation[metric], metrics_of(data.validation)[:, [metric]]
        if isinstance(reader, CoverageReader):
            fit_coverage(reader, known, held_out)
        elif isinstance(reader, nn.Linear):
            fit_ridge(reader, known, held_out)


def fit_decoder(decoder: nn.Linear, embeddings: Float[Tensor, "n anchors dim"]) -> None:
    """Set the linear decoder to the mean and the leading principal components.

    One scale for all: distances between codes are distances between embeddings, and the training
    checkpoints' codes have variance 1 on average. With fewer checkpoints than codes, the codes that
    are left over decode to nothing.
    """
    points = embeddings.flatten(1).double()
    mean = points.mean(0)
    # The Gram matrix is smaller than the points: n checkpoints against 4,096 coordinates.
    eigenvalues, basis = torch.linalg.eigh((points - mean) @ (points - mean).T)
    leading = basis[:, -decoder.in_features :].flip(1)
    spread = eigenvalues[-decoder.in_features :].flip(0).clamp_min(TINY).sqrt()
    # A direction without spread is rounding noise: it decodes to nothing.
    components = (points - mean).T @ leading / spread * (spread > FLAT * spread[0])
    decoder.weight.zero_()
    decoder.weight[:, : len(spread)] = (
        components * spread.square().mean().sqrt() / len(points) ** 0.5
    )
    decoder.bias.copy_(mean)


def principal_codes(
    decoder: nn.Linear, embeddings: Float[Tensor, "n anchors dim"]
) -> Float[Tensor, "n codes"]:
    """Coordinates whose decoding is closest to given embeddings (least squares)."""
    basis = decoder.weight / decoder.weight.square().sum(0).clamp_min(TINY)
    return (embeddings.flatten(1) - decoder.bias) @ basis


def true_codes(model: EpsilonVAE, split: ExtractedSplit) -> Float[Tensor, "n latent"]:
    """The z that a perfect encoder would give: from true embeddings and true metrics."""
    geometry = principal_codes(model.decoder, embeddings_of(split))
    return torch.cat([geometry, model.link(metrics_of(split))], dim=1)


@torch.no_grad()
def read_split(model: EpsilonVAE, split: ExtractedSplit) -> Readings:
    """Readings of every checkpoint of a split, in batches."""
    n = len(split.metrics)
    parts = [
        model.read(all_weights(split, slice(start, start + BATCH))) for start in range(0, n, BATCH)
    ]
    return Readings(torch.cat([p.points for p in parts]), torch.cat([p.margins for p in parts]))


def _links(metrics: Float[Tensor, "n 3"], model: EpsilonVAE) -> Float[Tensor, "n 3"]:
    """Metrics on the unbounded scale, before it is standardised."""
    return model.link(metrics) * model.scale + model.shift


def _fit_curve(
    model: EpsilonVAE,
    known: Float[Tensor, "n codes"],
    held_out: Float[Tensor, "m codes"],
    data: MapData,
) -> None:
    """Fit the curve to true codes; choose it by the codes that the encoder gives."""
    train, validation = (
        (codes, embeddings_of(split).flatten(1) - model.decoder(codes))
        for codes, split in ((known, data.train), (held_out, data.validation))
    )
    if model.config.curve_rank:
        fit_curve(model.curve, train, validation)
