"""Steered z, found once and kept: hundreds of gradient steps end elsewhere on another processor.

All starts are the checkpoints on the training library's front. The table has the z, so that anyone
can decode them and run the networks again. Beside them stands what the same goals give without a
map: the same steps, taken in the weights.
"""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pandas as pd
import torch
from jaxtyping import Float
from joblib import Parallel, delayed
from torch import Tensor
from tqdm import tqdm

from epsvae.errors import EpsvaeError
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.layout import MAX_RADIUS, all_layout
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.release import Release, open_release, z_of
from epsvae.subjects.ternary.uses.decode import Realised, map_sha256, realise, run_weights
from epsvae.subjects.ternary.uses.goals import Goal, at_least, toward_front
from epsvae.subjects.ternary.uses.steer import Steering, descend, steer
from epsvae.uses.density import Density, fit_density
from epsvae.uses.pareto import find_pareto_efficient
from research.cache import fingerprint, kept

OBJECTIVES = ("coverage", "distance_correlation")
"""Metrics that are to be large, and pull against each other."""

LIBRARY = "aligned"
FRONT_WEIGHTS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0)
"""Weights of reconstruction that spread the steered networks along the front."""
WANTED_COVERAGES = (0.5, 0.8, 0.95, 0.99)
REACHES = (4.0, 8.0, 16.0)
"""Trust regions, in standard deviations of the density's hills; 8 is the default of 64
dimensions."""
WEIGHT_RATES = (1e-3, 3e-3)
"""Learning rates of the steps in the weights: the best one is the stronger rival."""
SEED = 20251226


def steering_table(
    release: Path, cache: Path, steering: Steering | None = None, n_jobs: int = 1
) -> pd.DataFrame:
    """All steered points of a release's aligned map; some five minutes of one core, resumable.

    Columns: kind (``front``, ``target``, ``weights``), setting (the reach; of ``weights`` the
    learning rate), asked (weight of reconstruction, or the coverage wanted), run and epoch of the
    start, the three realised metrics, z0 ... z63 (of ``weights``: the map's image of the result).
    """
    opened = open_release(release)
    model = opened.map(LIBRARY)
    if not isinstance(model, EpsilonVAE) or model.weight_decoder is None:
        raise EpsvaeError(f"{release}: expected a map with a weight decoder, found one without")
    starts, latents = front_starts(opened), opened.latents(LIBRARY)
    steering, density = steering or Steering(), fit_density(_z_of(latents, "train"))
    parts = list(_parts(model, starts, density, steering))
    known = map_sha256(model), fingerprint(starts, latents), steering
    found = Parallel(n_jobs=n_jobs, return_as="generator")(
        delayed(_kept)(cache, part, name, *known) for name, part in parts
    )
    climbs = tqdm(found, desc="steering", unit="climb", total=len(parts))
    return pd.concat(list(climbs), ignore_index=True)


def _kept(cache: Path, part: Callable[[], pd.DataFrame], *asked: object) -> pd.DataFrame:
    torch.set_num_threads(1)
    return kept(cache, part, __name__, *asked)


def front_starts(release: Release) -> pd.DataFrame:
    """Training checkpoints that no other one beats: run, epoch and z0 ... z63, by coverage."""
    rows = release.rows(LIBRARY, "train").sort_values("coverage")
    front = rows[find_pareto_efficient(-rows[list(OBJECTIVES)].to_numpy()).numpy()]
    latents = release.latents(LIBRARY).drop(columns="split")
    return front[["run", "epoch"]].merge(latents, on=["run", "epoch"]).reset_index(drop=True)


def _parts(
    model: EpsilonVAE, starts: pd.DataFrame, density: Density, steering: Steering
) -> Iterator[tuple[str, Callable[[], pd.DataFrame]]]:
    steered = partial(_steered, model, starts, density, steering)
    for reach in REACHES:
        yield f"front-{reach}", partial(steered, "front", reach, FRONT_WEIGHTS)
    default = z_of(starts).shape[1] ** 0.5
    yield "target", partial(steered, "target", default, WANTED_COVERAGES)
    for rate in WEIGHT_RATES:
        yield f"weights-{rate}", partial(_trained, model, starts, steering, rate)


def _steered(
    model: EpsilonVAE,
    starts: pd.DataFrame,
    density: Density,
    steering: Steering,
    kind: str,
    reach: float,
    asked: tuple[float, ...],
) -> pd.DataFrame:
    """One climb from every start for everything that is asked."""
    rows = starts.loc[starts.index.repeat(len(asked))].assign(asked=asked * len(starts))
    wanted = torch.tensor(rows["asked"].to_numpy(), dtype=torch.float32)
    goal = toward_front(wanted) if kind == "front" else at_least({"coverage": wanted})
    chosen = Steering(steering.steps, steering.lr, steering.n_operations, reach)
    z = steer(model, _z_of(rows), goal, density, _generator(), chosen)
    return _rows(kind, reach, rows, z, realise(model, z, n_jobs=1))


def _trained(
    model: EpsilonVAE, starts: pd.DataFrame, steering: Steering, rate: float
) -> pd.DataFrame:
    """The goals of the front without a map: the decoded starts are trained on, as weights.

    What the decoder may change may change here: encoder A, projection A and the max radius.
    """
    asked = FRONT_WEIGHTS * len(starts)
    rows = starts.loc[starts.index.repeat(len(FRONT_WEIGHTS))].assign(asked=asked)
    goal = toward_front(torch.tensor(asked))
    weights = train_weights(model, _z_of(rows), goal, steering, rate)
    with torch.no_grad():
        z = model.encode(weights)
    realised = run_weights(model.config.architecture, weights, n_jobs=1)
    return _rows("weights", rate, rows, z, realised)


def train_weights(
    model: EpsilonVAE,
    start: Float[Tensor, "n latent"],
    goal: Goal,
    steering: Steering,
    rate: float,
) -> Float[Tensor, "n weights"]:
    """Decode, then take the steps of `steer` in the weights, with no density to keep near to."""
    decoder, layout = model.weight_decoder, all_layout(model.config.architecture)
    assert decoder is not None
    with torch.no_grad():
        state = layout.unflatten(model.decode_weights(start))
    free = {name: state[name].clone() for name in [*decoder.cored, *decoder.whole]}
    for tensor in free.values():
        tensor.requires_grad_(True)

    def keep_inside() -> None:
        free[MAX_RADIUS].clamp_(0.001, 0.999)

    chosen = Steering(steering.steps, rate, steering.n_operations)
    generator, architecture = _generator(), model.config.architecture
    parameters = list(free.values())
    descend(parameters, lambda: state | free, goal, architecture, generator, chosen, keep_inside)
    return layout.flatten({name: x.detach() for name, x in (state | free).items()})


def _rows(
    kind: str, setting: float, rows: pd.DataFrame, z: Float[Tensor, "n latent"], found: Realised
) -> pd.DataFrame:
    keys = rows[["asked", "run", "epoch"]].reset_index(drop=True)
    metrics = pd.DataFrame(found.metrics.numpy(), columns=list(METRIC_NAMES))
    latents = pd.DataFrame(z.numpy()).add_prefix("z")
    table = pd.concat([keys, metrics, latents], axis=1)
    table.insert(0, "setting", setting)
    table.insert(0, "kind", kind)
    return table


def _z_of(table: pd.DataFrame, split: str | None = None) -> Float[Tensor, "n latent"]:
    rows = table if split is None else table[table["split"] == split]
    return torch.from_numpy(z_of(rows))


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(SEED)
