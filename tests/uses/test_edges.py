"""The edges of every use: nothing, one checkpoint, one run, copies, constants, NaN, off the ball.

Each case either has a value that is stated here, or is refused with an `EpsvaeError`; nothing may
end in another error or in a warning.
"""

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from epsvae.errors import EpsvaeError
from epsvae.library.files import Checkpoint, save_checkpoint
from epsvae.library.layout import MAX_RADIUS, all_layout
from epsvae.map.model import EpsilonVAE, MapConfig
from epsvae.map.predict import checkpoint_files, each_file, predict_checkpoint, predict_files
from epsvae.map.predict import readable as readable_predictions
from epsvae.map.weights_out import WeightDecoderConfig
from epsvae.ternary import METRIC_NAMES, Architecture, Metrics, init_state
from epsvae.uses.average import add_noise, linear_average, nearest, spherical_average
from epsvae.uses.cluster import (
    LOOSE,
    agreement,
    agreement_interval,
    behaviour_distances,
    cluster_by_density,
    cluster_by_means,
    coordinates,
    stability,
)
from epsvae.uses.decode import realise, run_weights, virtual_checkpoint
from epsvae.uses.density import fit_density
from epsvae.uses.follow import follow
from epsvae.uses.goals import toward_front
from epsvae.uses.interpolate import (
    interpolate_checkpoints,
    interpolate_files,
    last_checkpoint,
    nearest_checkpoints,
)
from epsvae.uses.match import match_units
from epsvae.uses.monitor import QualityMonitor
from epsvae.uses.pareto import (
    compare_fronts,
    find_pareto_efficient,
    front_layers,
    front_rows,
    hypervolume,
    hypervolume_interval,
    predicted_front,
)
from epsvae.uses.preview import (
    anchor_errors,
    anchor_valuations,
    errors_by_valuation,
    geodesic_disk,
    mean_error,
    neighbours_kept,
    pairwise,
    preview_checkpoint,
    preview_files,
)
from epsvae.uses.redundant import last_stretch, redundant_runs, run_ends, run_rows
from epsvae.uses.sample import (
    discover_in_folder,
    is_promising,
    nearest_distance,
    promises,
    region_of,
    reread,
    trials,
)
from epsvae.uses.similar import find_similar, organise, place_files
from epsvae.uses.similar import readable as readable_places
from epsvae.uses.stagnation import (
    StagnationRule,
    alarm_rates,
    choose_rule,
    is_stagnant,
    metric_gain,
    signals,
    step_movements,
    true_movement,
)
from epsvae.uses.steer import Steering, hills, steer, steer_files
from epsvae.uses.trajectory import Trajectory, cosines, over_window, trajectories, window_starts
from research.uses.barriers import barrier, barriers, depth, interval_over_pairs, over_pairs
from research.uses.choosing import (
    batch_regret,
    difference,
    mean_of,
    over_runs,
    regret,
    scored,
    sign,
    tau,
    top_hits,
)
from research.uses.dynamics import rank_correlation
from research.uses.endpoint import (
    Early,
    best_damping,
    choose_forecast,
    copy_nearest,
    early_part,
    endpoint_errors,
    extrapolate,
    fit_forecast,
    network_errors,
    persist,
)
from research.uses.outcome import fit_quality_forecaster, forecast_folder
from research.uses.quality import (
    Course,
    by_step,
    courses_of,
    final_metrics,
    predicted_metrics,
    quality,
)
from research.uses.recipe_trees import grow, left_out, recipes_of
from research.uses.screening import (
    best_rungs,
    extrapolations,
    halving,
    last_values,
    quality_curves,
    successive_halving,
)
from research.uses.screening import extrapolate as extrapolate_curve

SMALL = Architecture(encoder_widths=(12, 8), decoder_widths=(6,), projection_hidden=8)
LAYOUT = all_layout(SMALL)
RUNS = np.array(list("aabbcc"), dtype=object)
QUICK = Steering(steps=2, n_operations=16)


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def checkpoint(seed: int = 0, epoch: float = 1.0, run: str = "a") -> Checkpoint:
    state = init_state(SMALL, torch.Generator().manual_seed(seed))
    return Checkpoint(state, SMALL, 0.9, Metrics(0.5, 0.5, -0.5), epoch, run)


def small_map() -> EpsilonVAE:
    """A map of small networks that was never trained: it reads and decodes, and means nothing."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        weight_decoder = WeightDecoderConfig(hidden=16, rank=3)
        config = MapConfig(
            latent_dim=12, n_probes=6, architecture=SMALL, weight_decoder=weight_decoder
        )
        model = EpsilonVAE(config)
    state = init_state(SMALL, seeded()) | {MAX_RADIUS: torch.tensor([0.9])}
    model.weight_decoder.reference.copy_(LAYOUT.flatten(state))
    return model.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def w(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A small map, six points of its z, and folders: empty, one file, copies, one run, two runs;
    hidden holds a file whose name starts with a dot."""
    contents = {
        "empty": [],
        "hidden": [checkpoint()],
        "one": [checkpoint()],
        "copies": [checkpoint(epoch=epoch) for epoch in (1.0, 2.0, 3.0)],
        "one_run": [checkpoint(seed, epoch=seed + 1.0) for seed in range(3)],
        "two_runs": [checkpoint(i, 1.0 + i % 2, "ab"[i // 2]) for i in range(4)],
    }
    folders = {}
    for name, checkpoints in contents.items():
        folders[name] = tmp_path_factory.mktemp(name)
        for number, one in enumerate(checkpoints):
            file = folders[name] / str(one.run) / f"{number}.safetensors"
            file.parent.mkdir(exist_ok=True)
            save_checkpoint(file, one)
    hidden = next(folders["hidden"].rglob("*.safetensors"))
    hidden.rename(hidden.with_name(".0.safetensors"))
    model, z = small_map(), torch.randn(6, 12, generator=seeded())
    rng = np.random.default_rng(0)
    metrics, anchors = rng.uniform(0.1, 0.9, (6, 3)), 0.1 * rng.normal(size=(6, 256, 16))
    unknown, outside = metrics.copy(), anchors.copy()
    unknown[2, 1], outside[0, 0] = np.nan, 2
    return SimpleNamespace(
        **folders,
        model=model,
        z=z,
        nan=torch.full((6, 12), torch.nan),
        copy=z[:1].repeat(6, 1),
        z64=z.double().numpy(),
        density=fit_density(z),
        weights=LAYOUT.flatten(init_state(SMALL, seeded()) | {MAX_RADIUS: torch.tensor([0.9])}),
        broken=replace(
            checkpoint(), state={n: v * torch.nan for n, v in checkpoint().state.items()}
        ),
        values=rng.random(6),
        nans=np.full(6, np.nan),
        metrics=metrics,
        constant=np.full((6, 3), 0.5),
        unknown=unknown,
        anchors=anchors,
        outside=outside,
        table=pd.DataFrame({"run": RUNS, "epoch": [1.0, 2.0] * 3, "epochs": 2.0}),
    )


def course(metrics: np.ndarray, n: int = 2) -> Course:
    return Course("a", np.linspace(0.5, 1, n), metrics[:n], np.zeros((n, 0)), np.zeros(0))


def forecaster(w: SimpleNamespace) -> Any:
    courses = [
        Course(run, np.array([0.5, 1.0]), w.metrics[:2], w.z64[:2], np.zeros(0)) for run in "abc"
    ]
    return fit_quality_forecaster(courses, w.metrics[:3], folds=2)


def early(z: np.ndarray) -> list[Early]:
    return [Early(place, np.ones(12), 1.0) for place in z]


def path(metrics: np.ndarray, shares: tuple[float, ...], way: str = "linear") -> pd.DataFrame:
    """Points on one path between two runs."""
    frame = pd.DataFrame(metrics[: len(shares)], columns=list(METRIC_NAMES))
    return frame.assign(library="l", run_a="a", run_b="b", way=way, share=shares)


def pairs(*names: str) -> pd.DataFrame:
    """A number for each pair of runs, which is named by two letters."""
    runs = [list(name) for name in names]
    return pd.DataFrame(runs, columns=["run_a", "run_b"]).assign(gap=np.arange(len(runs)) + 0.5)


Case = Callable[[SimpleNamespace], Any]
NO_ROWS = np.arange(0)
RANDOM = np.random.default_rng(0)
REFUSED: dict[str, Case] = {
    # nothing
    "follow nothing": lambda w: follow(w.empty, w.model),
    "forecast nothing": lambda w: forecast_folder(w.empty, w.model, forecaster(w), 10.0),
    "interpolate nothing": lambda w: interpolate_files(w.model, w.empty, w.one),
    "interpolate at no share": lambda w: interpolate_checkpoints(
        w.model, checkpoint(), checkpoint(), ()
    ),
    "organise nothing": lambda w: organise(w.model, [w.empty], 2),
    "organise no folder": lambda w: organise(w.model, [], 2),
    "front of nothing": lambda w: predicted_front(w.model, [w.empty]),
    "front of no folder": lambda w: predicted_front(w.model, []),
    "front of no rows": lambda w: front_rows(pd.DataFrame(columns=list(METRIC_NAMES))),
    "discover nothing": lambda w: discover_in_folder(w.model, [w.empty], 5, seeded()),
    "discover in no folder": lambda w: discover_in_folder(w.model, [], 5, seeded()),
    "follow hidden files": lambda w: follow(w.hidden, w.model),
    "last of nothing": lambda w: last_checkpoint(w.empty),
    "last of hidden files": lambda w: last_checkpoint(w.hidden),
    "files of nothing": lambda w: checkpoint_files(w.empty),
    "similar to something among none": lambda w: readable_places(
        place_files(w.model, [w.one]), place_files(w.model, []), 1
    ),
    "search nothing": lambda w: find_similar(place_files(w.model, [w.empty]), w.z[0]),
    "nearest of nothing": lambda w: nearest(w.z, w.z[:0]),
    "path through nothing": lambda w: nearest_checkpoints(w.z[:2], w.z[:0], w.metrics[:0]),
    "density of nothing": lambda w: fit_density(w.z[:0]),
    "region of nothing": lambda w: region_of(w.z[:0]),
    "means of nothing": lambda w: cluster_by_means(w.z[:0], 1),
    "stability of nothing": lambda w: stability(w.z[:0], RUNS[:0], 2),
    "a course of nothing": lambda w: course(w.metrics, 0),
    "quality of no runs": lambda w: fit_quality_forecaster([], w.metrics[:0]),
    "persistence of no runs": lambda w: persist([]),
    "extrapolation of no runs": lambda w: extrapolate([]),
    "copies of no runs": lambda w: copy_nearest([], [], w.z64[:0]),
    "a forecast from no runs": lambda w: choose_forecast([], w.z64[:0]),
    "a rule from nothing": lambda w: choose_rule(np.zeros(0), np.zeros(0), np.zeros(0, bool)),
    "rates of nothing": lambda w: alarm_rates(np.zeros(0, bool), np.zeros(0, bool), []),
    "correlation of nothing": lambda w: rank_correlation(np.zeros(0), np.zeros(0), []),
    "damping of no runs": lambda w: best_damping([], w.z64[:0]),
    "copies without their ends": lambda w: copy_nearest(early(w.z64), early(w.z64), w.z64[:0]),
    "a curve of nothing": lambda w: extrapolate_curve(np.zeros(0), w.metrics[:0]),
    "a recipe of no runs": lambda w: recipes_of([]),
    "a recipe of runs without": lambda w: recipes_of([course(w.metrics)]),
    "trees of no runs": lambda w: grow(np.zeros((0, 2)), w.metrics[:0], 0),
    "recipes of no other runs": lambda w: left_out(np.zeros((0, 2)), w.metrics[:0], 0),
    "runs that are described in two ways": lambda w: fit_quality_forecaster(
        [course(w.metrics), replace(course(w.metrics), places=w.metrics[:2])], w.metrics[:2]
    ),
    "a plan of no epochs": lambda w: forecast_folder(w.one, w.model, forecaster(w), 0.0),
    "courses without a plan": lambda w: courses_of(w.table.assign(epochs=0.0), w.metrics),
    "tau of no runs": lambda w: tau(np.zeros(0), np.zeros(0)),
    "hits among no runs": lambda w: top_hits(np.zeros(0), np.zeros(0)),
    "no hits": lambda w: top_hits(w.values, w.values, 0),
    "regret of no runs": lambda w: regret(np.zeros(0), np.zeros(0), np.zeros((2, 0), int)),
    "regret in no batches": lambda w: regret(w.values, w.values, np.zeros((0, 2), int)),
    "regret in empty batches": lambda w: batch_regret(w.values, w.values, 0)(np.arange(6), 0),
    "batches of no runs": lambda w: batch_regret(w.values, w.values, 2)(NO_ROWS, 0),
    "a score of no runs": lambda w: scored(tau, w.values, lambda rows: w.values[rows])(NO_ROWS, 0),
    "a mean of no runs": lambda w: mean_of(w.values)(NO_ROWS, 0),
    "a difference of no runs": lambda w: difference(*[mean_of(w.values)] * 2)(NO_ROWS, 0),
    "an interval over no runs": lambda w: over_runs(lambda rows, seed: 0.0, 0),
    "halving without rungs": lambda w: successive_halving(w.metrics, 18, 0),
    "halving of no checkpoints": lambda w: successive_halving(w.metrics[:, :0], 18, 1),
    "rungs of no runs": lambda w: best_rungs(w.metrics[:, :0], w.values[:0], 2, 2, RANDOM),
    "rungs of too few runs": lambda w: best_rungs(w.metrics, w.values[:3], 2, 4, RANDOM),
    "rungs of single runs": lambda w: best_rungs(w.metrics, w.values[:3], 2, 1, RANDOM),
    "rungs for nothing": lambda w: best_rungs(w.metrics, w.values[:3], 0, 2, RANDOM),
    "rungs of no draws": lambda w: best_rungs(w.metrics, w.values[:3], 2, 2, RANDOM, 0),
    "a barrier of nothing": lambda w: barrier(w.metrics[:0], np.zeros(0), w.metrics[:2]),
    "no pairs": lambda w: interval_over_pairs(np.zeros((0, 3))),
    "no pairs in a table": lambda w: over_pairs(pairs(), "gap"),
    "a barrier without ends": lambda w: barriers(path(w.metrics, (0.0, 0.5))),
    "a barrier between one end": lambda w: barriers(path(w.metrics, (0.0, 0.0))),
    "a barrier without averages": lambda w: barriers(path(w.metrics, (0.0, 1.0), "decoded")),
    "no clusters": lambda w: cluster_by_means(w.z, 0),
    "a front without objectives": lambda w: predicted_front(w.model, [w.one], ()),
    "a front of unknown objectives": lambda w: predicted_front(w.model, [w.one], ("beauty",)),
    "costs without objectives": lambda w: find_pareto_efficient(np.zeros((3, 0))),
    "volume without objectives": lambda w: hypervolume(np.zeros((3, 0)), ()),
    "neighbours of nothing": lambda w: neighbours_kept(np.zeros((0, 0)), np.zeros((0, 0)), 1),
    "reports of no network": lambda w: QualityMonitor(w.model)({}, 1),
    "reports at no step": lambda w: QualityMonitor(w.model, every=0),
    "a window of no epochs": lambda w: over_window(w.metrics, np.ones(6), 0.0),
    "gains over no epochs": lambda w: metric_gain(w.metrics, np.ones(6), 0.0),
    "movement over no epochs": lambda w: true_movement(w.anchors, np.ones(6), 0.0),
    "a path that is cut before it starts": lambda w: Trajectory(np.ones(6).cumsum(), w.z64).until(
        0.0
    ),
    "steer on no operations": lambda w: steer(
        w.model, w.z, toward_front(1.0), w.density, seeded(), Steering(1, n_operations=0)
    ),
    "steer a folder without files": lambda w: steer_files(
        w.model, [w.empty], toward_front(1.0), w.density, seeded(), QUICK
    ),
    "a path of nothing": lambda w: Trajectory(np.zeros(0), np.zeros((0, 3))),
    # one checkpoint
    "discover from one": lambda w: discover_in_folder(w.model, [w.one], 5, seeded()),
    "organise one": lambda w: organise(w.model, [w.one], 2),
    "density of one": lambda w: fit_density(w.z[:1]),
    "region of one": lambda w: region_of(w.z[:1]),
    "early part of one": lambda w: early_part(Trajectory(np.ones(1), w.z64[:1]), 1.0),
    "neighbours of one": lambda w: neighbours_kept(np.zeros((1, 1)), np.zeros((1, 1)), 1),
    # copies
    "a pair that comes twice": lambda w: over_pairs(pairs("ab", "ab"), "gap"),
    "a barrier with an end twice": lambda w: barriers(path(w.metrics, (0.0, 0.0, 1.0))),
    "stability of copies": lambda w: stability(w.copy, RUNS, 2),
    "two clusters of copies": lambda w: cluster_by_means(w.copy, 2),
    "organise copies": lambda w: organise(w.model, [w.copies], 2),
    "a course that repeats an epoch": lambda w: courses_of(w.table.assign(epoch=1.0), w.metrics),
    "a path that repeats an epoch": lambda w: Trajectory(np.ones(6), w.z64),
    # NaN
    "costs with NaN": lambda w: find_pareto_efficient(w.unknown),
    "layers with NaN": lambda w: front_layers(w.unknown, 2),
    "volume with NaN": lambda w: hypervolume(w.unknown, (1.0, 1.0, 1.0)),
    "volume interval with NaN": lambda w: hypervolume_interval(w.unknown, (1.0, 1.0, 1.0)),
    "rows with NaN": lambda w: front_rows(pd.DataFrame(w.unknown, columns=list(METRIC_NAMES))),
    "a course with NaN": lambda w: course(w.unknown, 3),
    "courses with NaN": lambda w: courses_of(w.table, w.unknown),
    "unknown finals": lambda w: fit_quality_forecaster(
        [course(w.metrics)], np.full((1, 3), np.nan)
    ),
    "a region of NaN": lambda w: region_of(w.nan),
    "promises of NaN": lambda w: promises(w.model, w.nan[:1], w.z),
    "promises beside NaN": lambda w: promises(w.model, w.z[:1], w.nan),
    "trials of NaN": lambda w: trials(w.model, w.weights[None] * torch.nan, w.z),
    "networks of NaN": lambda w: run_weights(SMALL, w.weights[None] * torch.nan),
    "rereading NaN": lambda w: reread(w.model, w.nan),
    "distance of NaN": lambda w: nearest_distance(w.nan, w.z),
    "distance from NaN": lambda w: nearest_distance(w.z, w.nan),
    "nearest to NaN": lambda w: nearest(w.nan, w.z),
    "nearest of NaN": lambda w: nearest(w.z, w.nan),
    "a path from NaN": lambda w: nearest_checkpoints(w.nan[:2], w.z, w.metrics),
    "units of NaN": lambda w: match_units(w.weights, w.weights * torch.nan, SMALL),
    "coordinates of NaN": lambda w: coordinates(np.full((3, 3), np.nan)),
    "stability of NaN": lambda w: stability(w.nan, RUNS, 2),
    "tau of NaN": lambda w: tau(w.values, w.nans),
    "hits of NaN": lambda w: top_hits(w.nans, w.values),
    "regret of NaN": lambda w: regret(w.nans, w.values, np.zeros((2, 2), int)),
    "regret of a guess of NaN": lambda w: batch_regret(w.values, w.nans, 2)(np.arange(6), 0),
    "an interval of a guess of NaN": lambda w: over_runs(
        scored(tau, w.values, lambda rows: w.nans[rows]), 6
    ),
    "a curve of NaN": lambda w: extrapolate_curve(np.arange(1.0, 7.0) / 6, w.unknown),
    "halving of NaN": lambda w: successive_halving(w.metrics * np.nan, 18, 2),
    "rungs of NaN": lambda w: best_rungs(w.metrics, w.nans[:3], 2, 2, RANDOM),
    "trees of NaN": lambda w: grow(w.z64, w.unknown, 0),
    "other recipes of NaN": lambda w: left_out(w.z64 * np.nan, w.metrics, 0),
    "a run at NaN": lambda w: early(w.z64[:1] * np.nan),
    "ends of NaN": lambda w: fit_forecast(early(w.z64), w.z64 * np.nan),
    "damping to NaN": lambda w: best_damping(early(w.z64), w.z64 * np.nan),
    "copies of NaN": lambda w: copy_nearest(early(w.z64), early(w.z64), w.z64 * np.nan),
    "a rule from NaN": lambda w: choose_rule(w.nans, w.values, np.arange(6) % 2 == 0),
    "a reference of NaN": lambda w: hypervolume(w.metrics, (np.nan,) * 3),
    "neighbours at NaN": lambda w: neighbours_kept(np.full((4, 4), np.nan), np.zeros((4, 4)), 1),
    "distances of NaN": lambda w: pairwise(w.anchors[0] * np.nan),
    "a disk of NaN": lambda w: geodesic_disk(w.anchors[0] * np.nan, np.eye(16)[:, :2]),
    "behaviour of NaN": lambda w: behaviour_distances(w.anchors, w.anchors * np.nan),
    "a prediction of NaN": lambda w: predict_checkpoint(w.model, w.broken),
    "a preview of NaN": lambda w: preview_checkpoint(w.model, w.broken),
    "a radius of NaN": lambda w: QualityMonitor(w.model, max_radius=float("nan")),
    "a goal of NaN": lambda w: steer(
        w.model, w.z, toward_front(float("nan")), w.density, seeded(), QUICK
    ),
    "hills of NaN": lambda w: hills(w.nan, w.density),
    "a run without an epoch": lambda w: trajectories(
        pd.DataFrame({"run": ["a"], "epoch": [np.nan], "z0": [1.0]})
    ),
    "redundant at NaN": lambda w: redundant_runs(place_files(w.model, [w.two_runs]), np.nan),
    "a density of NaN": lambda w: fit_density(w.nan),
    "means of NaN": lambda w: cluster_by_means(w.nan, 1),
    "dense clusters of NaN": lambda w: cluster_by_density(w.nan, 2),
    "search for NaN": lambda w: find_similar(place_files(w.model, [w.one]), w.nan[0]),
    "realise NaN": lambda w: realise(w.model, w.nan[:1]),
    "a file of NaN": lambda w: virtual_checkpoint(w.model, w.nan[0]),
    "steer from NaN": lambda w: steer(
        w.model, w.nan[:1], toward_front(1.0), w.density, seeded(), QUICK
    ),
    "a path of NaN": lambda w: Trajectory(np.arange(6.0), w.nan.double().numpy()),
    "embeddings of NaN": lambda w: step_movements(w.anchors * np.nan),
    # outside the ball, off the map
    "behaviour outside": lambda w: behaviour_distances(w.outside, w.anchors),
    "steps outside": lambda w: step_movements(w.outside),
    "movement outside": lambda w: true_movement(w.outside, np.arange(1.0, 7.0)),
    "distances outside": lambda w: pairwise(w.outside[0]),
    "true anchors outside": lambda w: anchor_errors(
        torch.tensor(w.anchors), torch.tensor(w.outside)
    ),
    "a disk from outside": lambda w: geodesic_disk(w.outside[0], np.eye(16)[:, :2]),
    "signals outside": lambda w: signals(
        Trajectory(np.arange(6.0), w.z64), w.metrics, w.metrics, w.outside
    ),
    "endpoints outside": lambda w: endpoint_errors(w.model, w.z64, w.z64, w.outside, w.metrics),
    "steer from far away": lambda w: steer(
        w.model, 1e4 * w.z, toward_front(1.0), w.density, seeded(), QUICK
    ),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_refused(w: SimpleNamespace, case: Case) -> None:
    with pytest.raises(EpsvaeError, match="expected"):
        case(w)


EMPTY: dict[str, Case] = {
    "places of an empty folder": lambda w: place_files(w.model, [w.empty]).table,
    "previews of an empty folder": lambda w: preview_files(w.model, [w.empty])[0],
    "previews of no folder": lambda w: preview_files(w.model, [])[0],
    "redundant among none": lambda w: redundant_runs(place_files(w.model, [w.empty])),
    "redundant in one run": lambda w: redundant_runs(place_files(w.model, [w.one_run])),
    "ends of no runs": lambda w: run_ends(place_files(w.model, [w.empty]).table),
    "promises of no points": lambda w: promises(w.model, w.z[:0], w.z),
    "no points, realised": lambda w: realise(w.model, w.z[:0]).metrics,
    "no weights, run": lambda w: run_weights(SMALL, torch.zeros(0, LAYOUT.n_weights)).metrics,
    "no points, drawn": lambda w: w.density.sample(0, seeded()),
    "no points, steered": lambda w: steer(
        w.model, w.z[:0], toward_front(1.0), w.density, seeded(), QUICK
    ),
    "efficient of none": lambda w: find_pareto_efficient(np.zeros((0, 2))),
    "layers of none": lambda w: front_layers(np.zeros((0, 2)), 3),
    "dense clusters of none": lambda w: cluster_by_density(w.z[:0], 2),
    "behaviour of none": lambda w: behaviour_distances(w.anchors[:0], w.anchors[:0]),
    "no courses": lambda w: courses_of(w.table[:0], w.metrics[:0]),
    "quality of nothing": lambda w: quality(w.metrics[:0]),
    "finals of nothing": lambda w: final_metrics(w.table[:0].assign(**dict.fromkeys(METRIC_NAMES))),
    "forecasts of no courses": lambda w: forecaster(w)([]),
    "barriers of no paths": lambda w: barriers(
        pd.DataFrame(columns=["library", "run_a", "run_b", "way", "share", *METRIC_NAMES])
    ),
    "errors of no ends": lambda w: endpoint_errors(
        w.model, w.z64[:0], w.z64[:0], w.anchors[:0], w.metrics[:0]
    ),
    "no paths": lambda w: trajectories(pd.DataFrame(columns=["run", "epoch", "z0"])),
    "no windows": lambda w: window_starts(np.zeros(0))[0],
    "no gains": lambda w: metric_gain(w.metrics[:0], np.zeros(0)),
    "no steps": lambda w: step_movements(w.anchors[:1]),
    "trials of no networks": lambda w: trials(w.model, w.weights[None][:0], w.z),
    "no points, reread": lambda w: reread(w.model, w.z[:0]),
    "no promises": lambda w: is_promising(w.z[:0, :3]),
    "no points, encoded": lambda w: w.model.encode(w.weights[None][:0]),
    "no points in a region": lambda w: region_of(w.z).sample(0, seeded()),
    "discoveries among no draws": lambda w: discover_in_folder(w.model, [w.two_runs], 0, seeded())[
        1
    ],
    "coordinates of none": lambda w: coordinates(np.zeros((0, 0))),
    "dense clusters of no distances": lambda w: cluster_by_density(np.zeros((0, 0)), 2, True),
    "last values of no runs": lambda w: last_values([]),
    "curves of no runs": lambda w: extrapolations([]),
    "qualities of no runs": lambda w: quality_curves([], 3).T,
    "qualities at no step": lambda w: quality_curves([course(w.metrics)], 0),
    "forecasts at no step": lambda w: by_step(last_values, [course(w.metrics)], 0),
    "forecasts of no runs": lambda w: by_step(last_values, [], 2)[0],
    "predictions of nothing": lambda w: predicted_metrics(w.model, w.z64[:0]),
    "halving of no runs": lambda w: successive_halving(w.metrics[:0], 18, 2).guess,
    "halving among none of the runs": lambda w: halving(w.metrics, 2, 2)(NO_ROWS),
    "depths of no points": lambda w: depth(w.metrics[:0], np.zeros(0), w.metrics[:2]),
    "averages of none": lambda w: spherical_average(*[w.weights[None][:0]] * 2, SMALL),
    "noise on none": lambda w: add_noise(w.weights[None][:0], SMALL, 0.1, seeded()),
    "nearest to none": lambda w: nearest(w.z[:0], w.z),
    "densities of none": lambda w: w.density.log_prob(w.z[:0]),
    "hills of none": lambda w: hills(w.z[:0], w.density),
    "steer no files": lambda w: steer_files(
        w.model, [], toward_front(1.0), w.density, seeded(), QUICK
    ),
    "fronts of no sets": lambda w: compare_fronts({}, (1.0, 1.0)),
    "a path at no share": lambda w: nearest_checkpoints(w.z[:2], w.z, w.metrics, ()),
    "a forecast of no ends": lambda w: fit_forecast(early(w.z64), w.z64)([]),
    "errors of no networks": lambda w: network_errors(
        w.anchors[:0], w.metrics[:0], w.anchors[:0], w.metrics[:0]
    ),
    "errors of no anchors": lambda w: anchor_errors(*[torch.tensor(w.anchors[:0])] * 2),
    "no valuations": lambda w: errors_by_valuation(np.zeros((6, 0)), RUNS, np.zeros(0, int)),
    "a disk of none": lambda w: geodesic_disk(w.anchors[0, :0], np.eye(16)[:, :2]),
    "distances of none": lambda w: pairwise(w.anchors[0, :0]),
    "runs of nothing": lambda w: run_rows(place_files(w.model, []).table),
    "none, made readable": lambda w: readable_places(
        place_files(w.model, []), place_files(w.model, [w.one]), 3
    ),
    "the 0 most similar": lambda w: find_similar(place_files(w.model, [w.one]), w.z[0], 0),
    "signals of one checkpoint": lambda w: signals(
        Trajectory(np.ones(1), w.z64[:1]), w.metrics[:1], w.metrics[:1], w.anchors[:1]
    ),
    "no alarms": lambda w: StagnationRule(1.0)(np.zeros(0), np.zeros(0)),
    "no stagnation": lambda w: is_stagnant(np.zeros(0), np.zeros(0)),
    "changes of none": lambda w: over_window(w.metrics[:0], np.zeros(0)),
    "angles of none": lambda w: cosines(w.z64[:0], w.z64[:0]),
    "turns of one checkpoint": lambda w: Trajectory(np.ones(1), w.z64[:1]).curvatures,
    "uses of no files": lambda w: each_file([], lambda file, c: file)[0],
    "uses of an empty folder": lambda w: each_file([w.empty], lambda file, c: file)[0],
    "predictions for no file": lambda w: predict_files(w.model, []).table,
    "predictions for an empty folder": lambda w: predict_files(w.model, [w.empty]).table,
    "no reports": lambda w: QualityMonitor(w.model).table(),
}


@pytest.mark.parametrize("case", EMPTY.values(), ids=EMPTY)
def test_empty_is_empty(w: SimpleNamespace, case: Case) -> None:
    assert len(case(w)) == 0


def test_nothing_has_a_volume_of_0_and_a_stretch_of_nan(w: SimpleNamespace) -> None:
    assert hypervolume(np.zeros((0, 2)), (1.0, 1.0)) == 0
    assert compare_fronts({"none": (np.zeros((0, 2)), None)}, (1.0, 1.0))["front"].tolist() == [0]
    nowhere = place_files(w.model, [w.empty])
    assert np.isnan(last_stretch(nowhere.table, nowhere.z))
    assert nearest_distance(w.z, w.z[:0]).isinf().all()
    assert np.isnan(mean_error(np.zeros(0), RUNS[:0])).all()
    assert last_values([]).shape == extrapolations([]).shape == (0, 3)
    assert quality_curves([], 4).shape == (4, 0)
    assert by_step(last_values, [], 2).shape == (2, 0, 3)
    assert successive_halving(w.metrics[:0], 18, 2).spent == 0
    found = predict_files(w.model, [w.empty])
    assert len(found.refused) == 1
    assert "Empty" in readable_predictions(found.table)
    by_valuation = errors_by_valuation(np.zeros((0, 256)), RUNS[:0], anchor_valuations())
    assert by_valuation["value"].isna().all()


FOLDERS: dict[str, Callable[[Any, SimpleNamespace], Any]] = {
    "follow": lambda folder, w: follow(folder, w.model).table,
    "places": lambda folder, w: place_files(w.model, [folder]).table,
    "previews": lambda folder, w: preview_files(w.model, [folder])[0],
    "predictions": lambda folder, w: predict_files(w.model, [folder]).table,
    "steer": lambda folder, w: steer_files(
        w.model,
        sorted(folder.rglob("*.safetensors")),
        toward_front(1.0),
        fit_density(place_files(w.model, [folder]).z.repeat(2, 1)),
        seeded(),
        QUICK,
    ),
}


@pytest.mark.parametrize("use", FOLDERS.values(), ids=FOLDERS)
@pytest.mark.parametrize("name", ["one", "copies", "one_run", "two_runs"])
def test_every_file_of_a_folder_counts_once(
    w: SimpleNamespace, use: Callable[[Any, SimpleNamespace], Any], name: str
) -> None:
    folder = getattr(w, name)
    assert len(use(folder, w)) == len(list(folder.rglob("*.safetensors")))


@pytest.mark.parametrize(("name", "runs"), [("one", 1), ("copies", 1), ("two_runs", 2)])
def test_a_row_a_run(w: SimpleNamespace, name: str, runs: int) -> None:
    assert len(forecast_folder(getattr(w, name), w.model, forecaster(w), 10.0)) == runs


def test_one_checkpoint(w: SimpleNamespace) -> None:
    assert cluster_by_means(w.z[:1], 1).tolist() == [0]
    assert cluster_by_density(w.z[:1], 2).tolist() == [LOOSE]
    assert coordinates(np.zeros((1, 1))).tolist() == [[0]]
    assert find_pareto_efficient(w.metrics[:1]).tolist() == [True]
    assert len(predicted_front(w.model, [w.one])) == 1
    assert len(find_similar(place_files(w.model, [w.one]), w.z[0], 5)) == 1
    assert tau(np.ones(1), np.ones(1)) == 0
    assert top_hits(np.ones(1), np.ones(1)) == 1
    for course_of_one in (last_values, extrapolations):
        np.testing.assert_array_equal(course_of_one([course(w.metrics, 1)]), w.metrics[:1])
    assert np.isnan(Trajectory(np.ones(1), w.z64[:1]).straightness)
    assert np.isnan(true_movement(w.anchors[:1], np.ones(1))).all()
    assert regret(np.ones(1), np.ones(1), np.zeros((2, 3), int)) == 0
    assert successive_halving(w.metrics[:1], 3, 2).spent == 3
    assert last_checkpoint(w.one).epoch == 1
    np.testing.assert_array_equal(left_out(w.z64[:1], w.metrics[:1], 0), w.metrics[:1])
    assert fit_quality_forecaster([course(w.metrics)], w.metrics[:1], 2).half_width(
        0.5, (1, 0, 0)
    ) == float("inf")
    assert pairwise(w.anchors[0, :1]).tolist() == [[0]]


def test_one_run_has_no_interval(w: SimpleNamespace) -> None:
    one_run = np.array(["a"] * 6, dtype=object)
    labels = np.arange(6) % 2
    for value, low, high in (
        agreement_interval(labels, labels, one_run),
        mean_error(w.metrics[:, 0], one_run),
        over_runs(mean_of(np.ones(1)), 1),
        interval_over_pairs(np.ones((1, 3))),
        over_pairs(pairs("ab", "ac"), "gap"),
        alarm_rates(np.ones(6, bool), np.arange(6) % 2 == 0, one_run).hits,
        hypervolume_interval(w.metrics[:, :2], (1.0, 1.0), one_run),
        rank_correlation(w.metrics[:, 0], w.metrics[:, 1], one_run),
    ):
        assert np.isfinite(value)
        assert np.isnan([low, high]).all()
    assert (stability(w.z, one_run, 2, repeats=2)["kind"] == "seeds").all()


def test_constant_metrics(w: SimpleNamespace) -> None:
    assert find_pareto_efficient(w.constant).all()
    interval = hypervolume_interval(w.constant, (1.0, 1.0, 1.0), RUNS)
    assert interval == pytest.approx((0.125, 0.125, 0.125))
    assert tau(w.constant[:, 0], w.metrics[:, 0]) == 0
    assert top_hits(w.constant[:, 0], w.constant[:, 0]) == 1
    assert batch_regret(w.constant[:, 0], w.values, 2)(np.arange(6), 0) == 0
    constant = over_runs(mean_of(w.constant[:, 0]), 6)
    assert constant == (0.5, 0.5, 0.5)
    assert sign(constant) == 1
    assert sign(over_runs(difference(*[mean_of(w.values)] * 2), 6)) == 0
    assert best_rungs(np.full((3, 6), 0.5), w.constant[:, 0], 2, 4, np.random.default_rng(0)) == 1
    assert agreement(np.zeros(6, int), np.zeros(6, int)) == 1
    np.testing.assert_allclose(extrapolations([course(w.constant, 6)]), 0.5)
    halved = successive_halving(np.full((4, 4), 0.5), budget=16, rungs=2)
    assert np.isfinite(halved.guess).all()
    forecast = fit_quality_forecaster([course(w.constant)] * 3, w.constant[:3], folds=2)
    np.testing.assert_allclose(forecast([course(w.constant)]), 0.5)
    shares = np.array([0.0, 0.5, 1.0])
    assert barrier(w.constant[:3], shares, w.constant[:2]).tolist() == [0, 0, 0]
    gains = metric_gain(w.constant, np.arange(1.0, 7.0), 1.0)
    assert gains[1:].tolist() == [0] * 5
    assert np.isnan(rank_correlation(w.constant[:, 0], w.metrics[:, 0], RUNS)).all()
    kept = neighbours_kept(np.zeros((4, 4)), np.zeros((4, 4)), 1)
    assert kept == 1


def test_copies(w: SimpleNamespace) -> None:
    drawn = fit_density(w.copy).sample(3, seeded())
    assert (drawn - w.copy[:3]).abs().max() < 0.1
    torch.testing.assert_close(region_of(w.copy).sample(2, seeded()), w.copy[:2])
    assert cluster_by_means(w.copy, 1).tolist() == [0] * 6
    assert cluster_by_density(w.copy, 2).tolist() == [LOOSE] * 6
    assert set(nearest(w.z[:1], w.copy, 6)[0].tolist()) == set(range(6))
    assert w.density.log_prob(w.copy).unique().shape == (1,)
    assert best_damping([Early(z, 0 * z, 1.0) for z in w.z64], w.z64) == 0
    copied = early(np.repeat(w.z64[:1], 6, axis=0))
    assert np.isfinite(fit_forecast(copied, w.z64)(copied)).all()
    twice = place_files(w.model, [w.copies, w.copies])
    assert find_similar(twice, twice.z[0], 6)["distance"].tolist() == [0] * 6
    predicted = predict_files(w.model, [w.copies, w.copies]).table
    assert len(predicted.drop_duplicates(list(METRIC_NAMES))) == 1
    same = behaviour_distances(w.anchors[[0] * 3], w.anchors[[0] * 3])
    assert same.max() < 1e-5
    np.testing.assert_allclose(coordinates(np.zeros((3, 3))), 0)
    assert step_movements(w.anchors[[0] * 3]).max() < 1e-5
    assert Trajectory(np.arange(6.0), w.copy.double().numpy()).length == 0
    a = LAYOUT.flatten(init_state(SMALL, seeded()) | {MAX_RADIUS: torch.tensor([0.9])})
    for average in (linear_average(a, a), spherical_average(a, a, SMALL)):
        torch.testing.assert_close(average, a)
    torch.testing.assert_close(match_units(a, a, SMALL), a)
    assert torch.equal(add_noise(0 * a, SMALL, 0.1, seeded()), 0 * a)
    path = interpolate_checkpoints(w.model, checkpoint(), checkpoint(), (0.0, 1.0))
    ends = path[path["way"] == "linear"][list(METRIC_NAMES)].to_numpy()
    np.testing.assert_array_equal(ends[0], ends[1])


def test_unknown_metrics_of_a_library(w: SimpleNamespace) -> None:
    """A metric that is NaN is never near another one, and does not hide the checkpoint."""
    places = place_files(w.model, [w.two_runs])
    unknown = replace(places, table=places.table.assign(coverage=np.nan))
    assert redundant_runs(unknown)["redundant"].tolist() == [False]
    assert len(find_similar(unknown, w.z[0], 3)) == 3
    monitor = QualityMonitor(w.model)
    state = {name: value * torch.nan for name, value in init_state(SMALL, seeded()).items()}
    report = monitor(state, 1)
    assert report.flag
    assert np.isnan(report.predicted.vector()).all()
    errors = endpoint_errors(w.model, w.z64, w.z64, w.anchors, w.unknown)
    assert errors["distance_correlation"].isna().tolist() == [False, False, True, *[False] * 3]


UNKNOWN: dict[str, Case] = {
    "a mean": lambda w: over_runs(mean_of(w.unknown[:, 1]), 6),
    "a barrier": lambda w: barrier(w.unknown, np.linspace(0, 1, 6), w.metrics[:2])[1],
    "where a path sinks": lambda w: barriers(
        path(w.unknown[:, ::-1], (0.0, 1.0)).assign(coverage=np.nan)
    )["where"],
    "an interval over pairs": lambda w: interval_over_pairs(w.unknown),
    "an interval without a pair": lambda w: over_pairs(pairs("ac", "bd"), "gap"),
    "correlation": lambda w: rank_correlation(w.nans, w.values, RUNS),
    "a mean error": lambda w: mean_error(w.nans, RUNS),
    "the error of a prediction": lambda w: anchor_errors(
        torch.tensor(w.anchors) * torch.nan, torch.tensor(w.anchors)
    ),
    "errors of a network": lambda w: network_errors(
        w.anchors, w.metrics * np.nan, w.anchors, w.metrics
    )[list(METRIC_NAMES)],
    "quality": lambda w: quality(w.metrics * np.nan),
    "final metrics": lambda w: final_metrics(w.table.assign(**dict.fromkeys(METRIC_NAMES, np.nan))),
    "a prediction": lambda w: predicted_metrics(w.model, w.z64 * np.nan),
    "a density": lambda w: w.density.log_prob(w.nan),
    "an average": lambda w: linear_average(w.nan, w.z),
    "an average of angles": lambda w: spherical_average(w.weights * torch.nan, w.weights, SMALL),
    "noise": lambda w: add_noise(w.weights[:-1] * torch.nan, SMALL, 0.1, seeded()),
    "a gain": lambda w: metric_gain(w.metrics * np.nan, np.arange(6.0), 1.0),
    "an angle": lambda w: cosines(w.z64 * np.nan, w.z64),
}


@pytest.mark.parametrize("case", UNKNOWN.values(), ids=UNKNOWN)
def test_unknown_stays_unknown(w: SimpleNamespace, case: Case) -> None:
    assert np.isnan(np.asarray(case(w), dtype=float)).all()


def test_unknown_promises_nothing(w: SimpleNamespace) -> None:
    assert not is_promising(w.nan[:, :3]).any()
    assert not StagnationRule(1.0)(w.nans, w.values).any()
    assert not is_stagnant(w.values, w.nans).any()
    assert sign((0.5, float("nan"), float("nan"))) == 0
    assert mean_error(w.unknown[:, 1], RUNS)[0] == pytest.approx(np.nanmean(w.unknown[:, 1]))
    huge = {name: 1e38 * value for name, value in init_state(SMALL, seeded()).items()}
    assert QualityMonitor(w.model)(huge, 1).flag


def test_halving_looks_at_no_value_beyond_its_budget(w: SimpleNamespace) -> None:
    values = w.metrics.copy()
    values[:, 1:] = np.nan
    assert successive_halving(values, 6, 1).spent == 6


def test_predictions_outside_the_ball_are_drawn_back(w: SimpleNamespace) -> None:
    found = anchor_errors(torch.tensor(w.outside), torch.tensor(w.anchors))
    assert found.isfinite().all()
    assert found[0, 0] > 3
