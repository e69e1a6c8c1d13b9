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
from epsvae.map.weights_out import WeightDecoderConfig
from epsvae.ternary import METRIC_NAMES, Architecture, Metrics, init_state
from epsvae.uses.average import add_noise, linear_average, nearest, spherical_average
from epsvae.uses.barriers import barrier, barriers, interval_over_pairs
from epsvae.uses.choosing import mean_of, over_runs, tau, top_hits
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
from epsvae.uses.dynamics import describe, rank_correlation
from epsvae.uses.endpoint import (
    choose_forecast,
    copy_nearest,
    early_part,
    endpoint_errors,
    extrapolate,
    persist,
)
from epsvae.uses.follow import follow
from epsvae.uses.goals import toward_front
from epsvae.uses.interpolate import interpolate_checkpoints, interpolate_files, nearest_checkpoints
from epsvae.uses.match import match_units
from epsvae.uses.monitor import QualityMonitor
from epsvae.uses.outcome import fit_quality_forecaster, forecast_folder
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
    mean_error,
    neighbours_kept,
    pairwise,
    preview_files,
)
from epsvae.uses.quality import Course, courses_of, final_metrics, quality
from epsvae.uses.redundant import last_stretch, redundant_runs, run_ends
from epsvae.uses.sample import discover_in_folder, nearest_distance, promises, region_of
from epsvae.uses.screening import extrapolations, last_values, successive_halving
from epsvae.uses.similar import find_similar, organise, place_files
from epsvae.uses.stagnation import (
    alarm_rates,
    choose_rule,
    metric_gain,
    step_movements,
    true_movement,
)
from epsvae.uses.steer import Steering, steer, steer_files
from epsvae.uses.trajectory import Trajectory, trajectories, window_starts

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
    """A small map, six points of its z, and folders: empty, one file, copies, one run, two runs."""
    contents = {
        "empty": [],
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


Case = Callable[[SimpleNamespace], Any]
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
    "a path of nothing": lambda w: Trajectory(np.zeros(0), np.zeros((0, 3))),
    # one checkpoint
    "discover from one": lambda w: discover_in_folder(w.model, [w.one], 5, seeded()),
    "organise one": lambda w: organise(w.model, [w.one], 2),
    "density of one": lambda w: fit_density(w.z[:1]),
    "region of one": lambda w: region_of(w.z[:1]),
    "early part of one": lambda w: early_part(Trajectory(np.ones(1), w.z64[:1]), 1.0),
    "neighbours of one": lambda w: neighbours_kept(np.zeros((1, 1)), np.zeros((1, 1)), 1),
    # copies
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
    "no paths, described": lambda w: describe([]),
    "no windows": lambda w: window_starts(np.zeros(0))[0],
    "no gains": lambda w: metric_gain(w.metrics[:0], np.zeros(0)),
    "no steps": lambda w: step_movements(w.anchors[:1]),
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
    by_valuation = errors_by_valuation(np.zeros((0, 256)), RUNS[:0], anchor_valuations())
    assert by_valuation["value"].isna().all()


FOLDERS: dict[str, Callable[[Any, SimpleNamespace], Any]] = {
    "follow": lambda folder, w: follow(folder, w.model).table,
    "places": lambda folder, w: place_files(w.model, [folder]).table,
    "previews": lambda folder, w: preview_files(w.model, [folder])[0],
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
    assert np.isnan(describe([Trajectory(np.ones(1), w.z64[:1])])["straightness"]).all()
    assert np.isnan(true_movement(w.anchors[:1], np.ones(1))).all()


def test_one_run_has_no_interval(w: SimpleNamespace) -> None:
    one_run = np.array(["a"] * 6, dtype=object)
    labels = np.arange(6) % 2
    for value, low, high in (
        agreement_interval(labels, labels, one_run),
        mean_error(w.metrics[:, 0], one_run),
        over_runs(mean_of(np.ones(1)), 1),
        interval_over_pairs(np.ones((1, 3))),
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
    assert len(cluster_by_density(w.copy, 2)) == 6
    same = behaviour_distances(w.anchors[[0] * 3], w.anchors[[0] * 3])
    assert same.max() < 1e-5
    np.testing.assert_allclose(coordinates(np.zeros((3, 3))), 0)
    assert step_movements(w.anchors[[0] * 3]).max() < 1e-5
    assert describe([Trajectory(np.arange(6.0), w.copy.double().numpy())])["length"].tolist() == [0]
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


def test_predictions_outside_the_ball_are_drawn_back(w: SimpleNamespace) -> None:
    found = anchor_errors(torch.tensor(w.outside), torch.tensor(w.anchors))
    assert found.isfinite().all()
    assert found[0, 0] > 3


def test_weights_of_nan_are_refused(w: SimpleNamespace) -> None:
    with pytest.raises(ValueError, match="finite embeddings"):
        run_weights(SMALL, torch.full((1, LAYOUT.n_weights), torch.nan))
    with pytest.raises(ValueError, match="expected .*finite"):
        promises(w.model, w.nan[:1], w.z)
