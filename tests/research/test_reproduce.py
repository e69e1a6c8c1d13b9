"""From nothing to a release, at a scale of seconds: whole, resumable, and compared with another."""

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from epsvae.checkpoints import find_checkpoints
from epsvae.errors import ChapterError, LibraryError
from epsvae.loading import load_subject
from epsvae.map.map_file import load_map
from epsvae.map.predict import predict_files
from epsvae.subjects.ternary import METRIC_NAMES, Architecture
from epsvae.subjects.ternary.library import key_layout
from epsvae.subjects.ternary.library.extracted import load_split
from epsvae.subjects.ternary.map import train
from epsvae.subjects.ternary.map.data import all_weights
from epsvae.subjects.ternary.map.model import MapConfig
from epsvae.subjects.ternary.map.prediction import predict_split
from epsvae.subjects.ternary.map.release import open_release
from epsvae.subjects.ternary.map.seed import SeedConfig
from epsvae.subjects.ternary.uses import realise
from epsvae.subjects.ternary.uses.steer import Steering
from research import reproduce, seed_training
from research.digits import build as digits_build
from research.families import FAMILIES, build_family, learn_families, link_by_split
from research.first_results import EPSILON_VAE
from research.publish import compare, write_table
from research.reproduce import reproduce_all
from research.rows import features
from research.rows.judge import COLUMNS
from research.studies import fresh as study_fresh
from research.studies import seed_models
from research.studies.steering import steering_table
from research.ternary import build
from research.ternary.recipes import BaseRecipe, Recipe, Regime, Split, draw_recipe
from research.text import factory as text_factory

MEDIUM = Architecture(encoder_widths=(64, 32), decoder_widths=(64,), projection_hidden=16)
PLAN: list[tuple[Split, int]] = [("train", 6), ("validation", 2), ("test", 4)]
REGIMES: tuple[Regime, ...] = ("frozen", "homeostatic", "progressive", "unfrozen")
CHECKPOINTS = 3
SEED = SeedConfig(
    latent=4,
    hidden=(8, 8),
    decoder_hidden=(8,),
    n_weights=key_layout(MEDIUM).n_weights,
    epochs=2,
)


def recipes(library: str) -> list[Recipe]:
    """Twelve short runs, three of each regime."""
    rng = np.random.default_rng(len(library))
    base = BaseRecipe(architecture=MEDIUM, lr=1e-2, max_steps=30, target_coverage=0.0)
    splits = [split for split, n in PLAN for _ in range(n)]
    return [
        draw_recipe(
            REGIMES[i % 4],
            rng,
            name=f"{library}-{i:02d}",
            library=library,
            split=split,
            started=i,
            init_seed=i if library == "unaligned" else 0,
            base=base,
            lr=5e-3,
            epochs=1,
            n_checkpoints=CHECKPOINTS,
            **({"encoder_a_lr_scale": 3.0} if i % 4 else {}),
        )
        for i, split in enumerate(splits)
    ]


@pytest.fixture(scope="module")
def small_scale(quick_decoder: Any) -> Any:
    """Every stage as it is, on a catalogue of two libraries and with maps of a few parameters."""
    with pytest.MonkeyPatch.context() as patch:
        libraries = {library: recipes(library) for library in ("aligned", "unaligned")}
        patch.setattr(reproduce, "catalogue", lambda _: libraries)
        patch.setattr(seed_models, "SeedConfig", lambda hybrid: replace(SEED, hybrid=hybrid))
        config = MapConfig(latent_dim=11, n_probes=16, curve_rank=4, architecture=MEDIUM)
        patch.setattr(train, "MapConfig", lambda seed: replace(config, seed=seed))
        patch.setattr(train, "fit_weight_decoder", quick_decoder)
        patch.setattr(features, "TREES", 5)
        patch.setattr(features, "CODE_TREES", 5)
        quick = partial(steering_table, steering=Steering(steps=2, n_operations=32))
        patch.setattr(reproduce, "steering_table", quick)
        patch.setattr(reproduce, "_run_chapters", lambda *_: [])
        yield


@pytest.fixture(scope="module")
def artifacts(small_scale: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a reproduction leaves, here after having been killed before its first map."""
    folder = tmp_path_factory.mktemp("artifacts")

    def killed(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reproduce, "train_default", killed)
        with pytest.raises(KeyboardInterrupt):
            reproduce_all(folder, folder / "nothing", "small", n_jobs=1)
    with pytest.MonkeyPatch.context() as patch:
        _forbid(patch, build, "train_runs", "train_base")
        text = reproduce_all(folder, folder / "nothing", "small", n_jobs=1)
    assert text == f"{folder / 'nothing'}: no release to compare with; the new one is in " + str(
        folder / "release"
    )
    return folder


def _forbid(patch: pytest.MonkeyPatch, owner: Any, *names: str) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("this stage was finished")

    for name in names:
        patch.setattr(owner, name, fail)


def test_the_seed_s_file_names(artifacts: Path) -> None:
    arrays = artifacts / "epsilon_vae_hybrid"
    assert (arrays / "config.json").is_file()
    assert np.load(arrays / "anchor_operations.npy").shape == (256, 9)
    for split, n_runs in PLAN:
        assert len(load_split(arrays, split).metrics) == n_runs * CHECKPOINTS
    for name in ("best.pt", "final.pt"):
        assert (artifacts / "epsilon_vae_hybrid_models" / name).is_file()


def test_the_release_is_whole(artifacts: Path) -> None:
    release = open_release(artifacts / "release")
    assert release.manifest["scale"] == "small"
    for library in ("aligned", "unaligned", "both"):
        assert release.manifest["seconds"][f"{library}: default"] > 0
    assert len(release.latents("both")) == 24 * CHECKPOINTS
    assert set(release.map("both").config.asdict()) == set(release.map("aligned").config.asdict())
    for library in ("aligned", "unaligned"):
        assert len(release.latents(library)) == 12 * CHECKPOINTS
        assert release.embeddings(library, "test").shape == (4 * CHECKPOINTS, 256, 16)
        z = release.map(library).encode(release.map(library).rest_mean.new_zeros(SEED.n_weights))
        assert z.shape == (11,)
    files = release.checkpoint_files()
    assert len(files) == 4 * CHECKPOINTS  # one test run of each regime
    for name in FAMILIES:
        subject = load_subject(name)
        fitted = load_map(release.folder / name / "map.safetensors", subject)
        carried = find_checkpoints(release.folder / name / "runs")
        assert carried["run"].nunique() == 2 and len(carried) == 6
        assert predict_files(fitted, carried["file"].tolist()).refused == []
    first = release.table("first_results")
    assert set(first["subject"]) == {"ternary", *FAMILIES}
    assert set(first["split"]) >= {"test", "heldout"}
    assert set(release.manifest["files"]) == {
        path.relative_to(release.folder).as_posix()
        for path in release.folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def test_families_are_built_once(artifacts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _forbid(monkeypatch, digits_build, "train")
    _forbid(monkeypatch, text_factory, "train")
    for name in FAMILIES:
        build_family(artifacts / "families", name, small=True, n_jobs=1)
    assert learn_families(artifacts / "families", n_jobs=1) == {}


def test_ternary_networks_get_the_table_of_the_other_families(
    artifacts: Path, tmp_path: Path
) -> None:
    table = open_release(artifacts / "release").table("first_results")
    table = table[(table["subject"] == "ternary") & (table["split"] == "test")]
    table = table.set_index(["row", "metric"])
    assert len(table) == 6 * len(METRIC_NAMES)
    data = load_split(artifacts / "epsilon_vae_hybrid", "test")
    model = open_release(artifacts / "release").map("aligned")
    error = np.abs(predict_split(model, data, all_weights).metrics - data.metrics).mean(0)
    np.testing.assert_allclose(table.loc[EPSILON_VAE, "error"], error, atol=2e-3)
    with pytest.raises(LibraryError, match="expected the library nothing, found aligned"):
        link_by_split(artifacts / "library", tmp_path, "nothing")


def test_every_row_is_in_every_table(artifacts: Path) -> None:
    release = open_release(artifacts / "release")
    table, predictions = release.table("validation"), release.table("predictions")
    assert tuple(table.columns) == COLUMNS
    assert set(table["regime"]) == {"aligned", "unaligned"}
    rows = {"training mean", "default, key weights", "default", "default, both libraries"}
    assert rows <= set(table["row"])
    assert set(predictions["row"]) == set(table["row"])
    assert set(predictions["split"]) == {"train", "validation", "test"}
    assert predictions[[f"predicted_{name}" for name in METRIC_NAMES]].notna().all(axis=None)
    assert set(release.table("curves")["row"]) == {"default"}


def test_the_seed_s_models_come_with_the_study(
    artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tables = seed_models.seed_tables(artifacts, n_jobs=1)
    default = open_release(artifacts / "release").table("predictions").query("row == 'default'")
    for row in ("seed metrics-only", "seed hybrid"):
        here = tables["seed_predictions"]
        here = here[here["row"] == row]
        keys = ["library", "split", "run", "epoch", *METRIC_NAMES]
        pd.testing.assert_frame_equal(
            here[keys].reset_index(drop=True), default[keys].reset_index(drop=True)
        )
        assert here.filter(like="predicted_").notna().all(axis=None)
    losses = tables["seed_curves"].set_index(["regime", "row"]).sort_index()
    assert losses.groupby(level=[0, 1]).size().to_dict() == {
        (library, row): SEED.epochs
        for library in ("aligned", "unaligned")
        for row in ("seed metrics-only", "seed hybrid")
    }
    _forbid(monkeypatch, seed_training._Training, "one_epoch")
    again = seed_models.seed_tables(artifacts, n_jobs=1)
    pd.testing.assert_frame_equal(again["seed_predictions"], tables["seed_predictions"])


def test_new_runs_ask_every_row_and_every_interval_again(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    new = {
        name: [replace(r, name=f"new-{r.name}", library=f"fresh-{name}", seed=r.seed + 1)]
        for name in ("aligned", "unaligned")
        for r in recipes(name)[-1:]
    }
    monkeypatch.setattr(study_fresh, "fresh", lambda library, _: new[library])
    names = ["training mean", "default"]
    tables = study_fresh.fresh_tables(artifacts, tmp_path, names, n_jobs=1)
    found = tables["fresh"].set_index(["regime", "row", "measure"])["value"]
    assert set(found.index.unique("row")) == set(names)
    model = open_release(artifacts / "release").map("unaligned")
    arrays = load_split(artifacts / "fresh" / "epsilon_vae_unaligned", "test")
    with torch.no_grad():
        told = model.predict_metrics(model.encode(all_weights(arrays)))[:, 0].numpy()
    error = np.abs(told - arrays.metrics[:, 0]).mean()
    assert found["unaligned", "default", "coverage_mae"] == pytest.approx(error, abs=1e-6)
    assert set(tables["fresh_paired"]["row"]) == {"training mean"}
    held = tables["fresh_coverage"].set_index("library")
    assert held["runs"].groupby(level=0).max().to_dict() == {
        "aligned": 1,
        "both": 2,
        "unaligned": 1,
    }
    assert held["coverage"].between(0, 1).all()

    _forbid(monkeypatch, build, "train_runs", "train_base")
    again = study_fresh.fresh_tables(artifacts, tmp_path, names, n_jobs=1)
    pd.testing.assert_frame_equal(again["fresh"], tables["fresh"])


def test_steered_points_belong_to_the_map_that_was_built(artifacts: Path) -> None:
    release = open_release(artifacts / "release")
    steered = release.table("steered").query("kind != 'weights'")
    z = torch.from_numpy(steered.filter(regex=r"^z\d").to_numpy("f4", copy=True))
    again = realise(release.map("aligned"), z).metrics.numpy()
    np.testing.assert_allclose(again, steered[list(METRIC_NAMES)], atol=1e-5)


def test_a_second_reproduction_trains_nothing_agrees_and_names_chapters_that_fail(
    artifacts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reference = tmp_path / "reference"
    (artifacts / "release").rename(reference)
    _forbid(monkeypatch, build, "train_runs", "train_base")
    _forbid(monkeypatch, reproduce, "train_default")
    monkeypatch.setattr(reproduce, "_run_chapters", lambda *_: ["uses/pareto: no front"])
    with pytest.raises(ChapterError, match=r"not run: 1\.\nuses/pareto: no front") as caught:
        reproduce_all(artifacts, reference, "small", n_jobs=1)
    assert "The others" not in str(caught.value)
    old, new = open_release(reference), open_release(artifacts / "release")
    both = compare(new, old)
    np.testing.assert_allclose(both["difference"].fillna(0), 0, atol=1e-9)
    assert new.manifest["files"].keys() == old.manifest["files"].keys()


def test_a_comparison_names_what_moved(tmp_path: Path) -> None:
    keys = {"regime": "aligned", "split": "test", "access": "weights", "measure": "cosine"}
    rows = [("same", 0.50), ("close", 0.55), ("far", 0.90)]
    for name, values in (("old", [0.5, 0.5, 0.5]), ("new", [v for _, v in rows])):
        table = pd.DataFrame({"row": [row for row, _ in rows], "value": values}).assign(**keys)
        table = table.assign(low=0.4, high=0.6)[list(COLUMNS)]
        if name == "new":
            extra = table.head(1).assign(row="added")
            table = pd.concat([table, extra])
        (tmp_path / name).mkdir()
        (tmp_path / name / "manifest.json").write_text("{}")
        write_table(table, tmp_path / name / "validation.parquet")
    found = compare(open_release(tmp_path / "new"), open_release(tmp_path / "old"))
    found = found.set_index("row")
    assert found["agrees"].to_dict() == {
        "same": True,
        "close": True,
        "far": False,
        "added": False,
    }
    assert found.loc["far", "difference"] == pytest.approx(0.4)
    assert np.isnan(found.loc["added", "reference"])
