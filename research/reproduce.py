"""From nothing to the full-scale results: factories, extraction, maps, tables, release.

Every stage skips what is there, so a killed run goes on where it stopped.
"""

import json
import logging
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import torch
from joblib import Parallel, delayed

from epsvae.atomic import replacing
from epsvae.errors import ChapterError
from epsvae.subjects.ternary.library.extract import extract_library
from epsvae.subjects.ternary.map.calibrate import calibrate
from epsvae.subjects.ternary.map.calibration import FILE, save_calibration
from epsvae.subjects.ternary.map.data import (
    ARRAYS,
    BOTH,
    MapData,
    all_weights,
    load_both,
    load_map_data,
    models_folder,
)
from epsvae.subjects.ternary.map.files import AnyMap, load_epsilon_vae
from epsvae.subjects.ternary.map.model import EpsilonVAE
from epsvae.subjects.ternary.map.prediction import Prediction, predict_split
from epsvae.subjects.ternary.map.release import MANIFEST, open_release
from epsvae.subjects.ternary.map.train import train_default
from research.families import (
    FAMILIES,
    build_family,
    learn_families,
    learn_ternary,
    publish_families,
)
from research.publish import (
    SPLITS,
    carry_over,
    compare,
    metric_predictions,
    publish_arrays,
    publish_checkpoints,
    publish_map,
    summary,
    write_manifest,
    write_table,
)
from research.rows import ROWS
from research.rows.judge import validation_table
from research.rows.own import ONE_MAP
from research.studies.steering import steering_table
from research.ternary.build import build_libraries
from research.ternary.catalogue import catalogue
from tools.book.chapters import find_root, read_chapters
from tools.book.parameters import declared_parameters
from tools.book.runner import run_variant

log = logging.getLogger(__name__)

BASELINES = ("training mean", "nearest neighbour", "ExtraTrees", "ridge on weights")
"""Those of `ROWS` that are fitted in seconds; `make study` fits all, with several seeds."""
ACCESS = {name: str(ROWS[name].access) for name in BASELINES} | {
    "default, key weights": "key weights",
    ONE_MAP: "all weights",
    "default": "all weights",
}
"""What each row of the table may see of a checkpoint."""

SECONDS = "seconds.json"
"""What each stage took so far, over all interruptions."""

Timed = Callable[[str, Callable[[], Any]], Any]


def reproduce_all(artifacts: Path, reference: Path, scale: str = "full", n_jobs: int = 2) -> str:
    """Build everything under `artifacts`; gives the comparison with the reference as text."""
    torch.set_num_threads(n_jobs)
    times = artifacts / SECONDS
    seconds: dict[str, float] = json.loads(times.read_text()) if times.is_file() else {}
    root, release = artifacts / "library", artifacts / "release"
    recipes = [recipe for runs in catalogue(scale).values() for recipe in runs]

    def timed(stage: str, work: Callable[[], Any]) -> Any:
        log.info("→ %s", stage)
        start = perf_counter()
        result = work()
        elapsed = perf_counter() - start
        seconds[stage] = round(seconds.get(stage, 0.0) + elapsed, 1)
        with replacing(times) as temporary:
            temporary.write_text(json.dumps(seconds, indent=1) + "\n")
        log.info("  %s: %.1f s", stage, elapsed)
        return result

    index = timed("libraries", lambda: build_libraries(root, recipes, n_jobs))
    for library, arrays in ARRAYS.items():
        runs = index[index["library"] == library]
        timed(f"{library}: extraction", partial(extract_library, runs, root, artifacts / arrays))
    seconds |= timed("models", lambda: _train_models(artifacts, n_jobs))
    timed("both libraries", partial(_publish_one_map, artifacts, release))
    parts = [_learn(library, artifacts, release, timed) for library in ARRAYS]
    for name, frames in zip(
        ("validation", "predictions", "curves"), zip(*parts, strict=True), strict=True
    ):
        write_table(pd.concat(frames, ignore_index=True), release / f"{name}.parquet")
    publish_checkpoints(release, root)
    seconds |= _build_families(artifacts, release, scale, n_jobs, timed)
    if reference.is_dir():
        carry_over(reference, release)
    write_manifest(release, scale, seconds)  # what follows opens the release
    timed("steering", partial(_publish_steered, artifacts, release, n_jobs))
    failed = timed("chapters", lambda: _run_chapters(release, n_jobs))
    write_manifest(release, scale, seconds)
    if not (reference / MANIFEST).is_file():
        text = f"{reference}: no release to compare with; the new one is in {release}"
    else:
        text = summary(compare(open_release(release), open_release(reference)))
    if failed:
        raise ChapterError("\n".join([text, f"Chapters that did not run: {len(failed)}.", *failed]))
    return text


def _build_families(
    artifacts: Path, release: Path, scale: str, n_jobs: int, timed: Timed
) -> dict[str, float]:
    """Libraries, maps and first results of the other families, first results of ternary networks;
    gives the seconds of what ran side by side."""
    root, small = artifacts / "families", scale != "full"
    for name in FAMILIES:
        timed(f"{name}: library", partial(build_family, root, name, small, n_jobs))
    seconds: dict[str, float] = timed("families: maps", partial(learn_families, root, n_jobs))
    own = release / "aligned" / "map.pt"
    timed("ternary: first results", partial(learn_ternary, artifacts / "library", root, own))
    publish_families(root, release, small)
    return seconds


def _learn(
    library: str, artifacts: Path, release: Path, timed: Timed
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Fit every row on an extracted library: its table, predicted metrics and training curves."""
    data = load_map_data(artifacts / ARRAYS[library])
    rows: dict[str, dict[str, Prediction]] = {}
    for name in BASELINES:
        predict = timed(f"{library}: {name}", partial(ROWS[name].fit, data, 0))
        rows[name] = {split: predict(data.split(split)) for split in SPLITS}
    model, history = _default_map(artifacts, library)
    one_map, _ = _default_map(artifacts, BOTH)
    rows["default, key weights"] = {s: predict_split(model, data.split(s)) for s in SPLITS}
    for name, own in ((ONE_MAP, one_map), ("default", model)):
        rows[name] = {s: predict_split(own, data.split(s), all_weights) for s in SPLITS}
    _publish(release, library, data, model)
    publish_arrays(release, library, data)
    table = validation_table(rows, ACCESS, data, library)
    curves = history.assign(regime=library, row="default")
    return table, metric_predictions(rows, data, library), curves


def _train_models(artifacts: Path, n_jobs: int) -> dict[str, float]:
    """Train all maps side by side, one thread each; what they leave on disk is the result.

    Gives the seconds of those that were not on disk.
    """
    libraries = [name for name in (*ARRAYS, BOTH) if not _history(artifacts, name).is_file()]
    taken = Parallel(n_jobs=n_jobs)(delayed(_train_default_map)(artifacts, k) for k in libraries)
    return {f"{k}: default": round(t, 1) for k, t in zip(libraries, taken, strict=True)}


def _train_default_map(artifacts: Path, library: str) -> float:
    torch.set_num_threads(1)
    start = perf_counter()
    _default_map(artifacts, library)
    return perf_counter() - start


def _publish_steered(artifacts: Path, release: Path, n_jobs: int) -> None:
    """Points steered on the new map."""
    cache = artifacts / "study" / "steering"
    write_table(steering_table(release, cache, n_jobs=n_jobs), release / "steered.parquet")


def _run_chapters(release: Path, n_jobs: int) -> list[str]:
    """Run every chapter on the new release, into copies below ``artifacts/book``; gives the errors
    of those that failed, after all others have run."""
    root = find_root()
    where = {
        name: os.path.relpath(release.resolve(), chapter.path.parent)
        for name, chapter in read_chapters(root).items()
        if "reference" in declared_parameters(chapter)
    }
    jobs = (delayed(_run_chapter)(root, name, path) for name, path in where.items())
    errors = Parallel(n_jobs=n_jobs, return_as="generator")(jobs)
    failed = []
    for name, error in zip(where, errors, strict=True):
        log.info("  %s: %s", name, "failed" if error else "ran")
        failed += [error] if error else []
    return failed


def _run_chapter(root: Path, name: str, reference: str) -> str | None:
    try:
        run_variant(root, name, {"reference": reference})
    except ChapterError as error:
        return str(error)
    return None


def _default_map(artifacts: Path, library: str) -> tuple[AnyMap, pd.DataFrame]:
    """The default map of a library, or of both, and its history; trained unless it is on disk."""
    history = _history(artifacts, library)
    if not history.is_file():
        single = library != BOTH
        data = load_map_data(artifacts / ARRAYS[library]) if single else load_both(artifacts)
        tuning = train_default(data, history.parent, weights_out=single)
        with replacing(history) as temporary:
            tuning.history.to_parquet(temporary, index=False)
    return load_epsilon_vae(history.with_name("best.pt")), pd.read_parquet(history)


def _history(artifacts: Path, library: str) -> Path:
    """What is written last, beside a finished map."""
    return models_folder(artifacts, library) / "history.parquet"


def _publish_one_map(artifacts: Path, release: Path) -> None:
    """The map of both libraries: 1 GB of weights, gone again before the next stage."""
    _publish(release, BOTH, load_both(artifacts), _default_map(artifacts, BOTH)[0])


def _publish(release: Path, library: str, data: MapData, model: AnyMap) -> None:
    """A default map with its places and its calibration."""
    publish_map(release, library, data, model)
    assert isinstance(model, EpsilonVAE)
    save_calibration(calibrate(model, data), release / library / FILE)
