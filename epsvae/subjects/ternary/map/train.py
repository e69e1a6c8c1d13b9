"""Train and save the default map of a library."""

from dataclasses import replace
from pathlib import Path

import torch

from epsvae.subjects.ternary.map.data import MapData
from epsvae.subjects.ternary.map.files import save_map
from epsvae.subjects.ternary.map.fit import fit_map
from epsvae.subjects.ternary.map.model import MapConfig
from epsvae.subjects.ternary.map.train_weights import fit_weight_decoder
from epsvae.subjects.ternary.map.tune import TuneConfig, Tuning, fine_tune


def train_default(
    data: MapData,
    out: Path | str,
    seed: int = 0,
    config: TuneConfig | None = None,
    weights_out: bool = True,
) -> Tuning:
    """Closed form, then end to end; writes ``best.pt`` (on validation runs) and ``final.pt``.

    With `weights_out`, the best map learns to decode weights, too: one to two minutes more.
    """
    closed_form = fit_map(data, MapConfig(seed=seed))
    generator = torch.Generator().manual_seed(seed)
    tuning = fine_tune(closed_form, data, config or TuneConfig(), generator)
    if weights_out:
        tuning = replace(tuning, model=fit_weight_decoder(tuning.model, data, seed=seed).model)
    save_map(tuning.model, Path(out) / "best.pt")
    save_map(tuning.final, Path(out) / "final.pt")
    return tuning
