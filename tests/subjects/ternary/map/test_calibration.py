"""Conformal intervals: valid by run, inside the metrics' ranges, the same after a round trip."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from epsvae.errors import CheckpointError
from epsvae.map.intervals import LEVEL, distances, local_errors, run_quantile
from epsvae.map.predict import columns, predict_files, readable
from epsvae.map.ridge import TINY
from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.files import load_checkpoint, save_checkpoint
from epsvae.subjects.ternary.map.calibrate import calibrate, calibration_errors, predictions_without
from epsvae.subjects.ternary.map.calibration import (
    LOWEST,
    load_calibration,
    save_calibration,
)
from epsvae.subjects.ternary.map.data import all_weights, metrics_of, runs_of
from epsvae.subjects.ternary.map.look import TernaryMap
from research.trust.summary import coverage_table
from research.trust.tables import RULES, interval_table

pytestmark = pytest.mark.numbers


class TestRunQuantile:
    def test_runs_count_the_same(self):
        """One run of a thousand bad checkpoints is one run among twenty."""
        scores = np.concatenate([np.full(1000, 9.0), np.arange(19) / 19])
        runs = np.repeat([f"run-{i:02d}" for i in range(20)], [1000] + [1] * 19)
        assert run_quantile(scores, runs, 0.9) < 1

    def test_one_run_is_set_aside_for_the_new_one(self):
        runs = np.arange(19).astype(str)
        assert run_quantile(np.arange(19.0), runs, 0.9) == 17.0

    def test_too_few_runs_promise_nothing(self):
        assert run_quantile(np.arange(8.0), np.arange(8).astype(str), 0.9) == np.inf
        assert run_quantile(np.arange(9.0), np.arange(9).astype(str), 0.9) == 8.0

    def test_new_runs_are_covered(self):
        """The theorem, tried: runs differ much more than the checkpoints of one run."""
        rng = np.random.default_rng(0)
        inside = []
        for _ in range(400):
            size = np.exp(rng.normal(size=31))
            scores = np.abs(size[:, None] * (1 + 0.1 * rng.normal(size=(31, 5))))
            runs = np.repeat(np.arange(30).astype(str), 5)
            inside.append(scores[30, 0] <= run_quantile(scores[:30].ravel(), runs, LEVEL))
        assert 0.87 <= np.mean(inside) <= 0.96


class TestPredictionsWithout:
    def test_it_equals_refitting_without_the_run(self):
        generator = torch.Generator().manual_seed(0)
        x, noise = (torch.randn(24, 40, generator=generator) for _ in range(2))
        y = x[:, 0] + 0.3 * noise[:, 0]
        runs = np.repeat(["a", "b", "c", "d"], [3, 5, 7, 9])
        strength = 0.1
        predicted = predictions_without(x, y, runs, strength)
        features = ((x.double() - x.double().mean(0)) / (x.double().std(0) + TINY)) / 40**0.5
        for run in "abcd":
            here = torch.from_numpy(runs == run)
            without = _ridge(features[~here], y[~here].double(), strength)(features[here])
            torch.testing.assert_close(predicted[here], without)


def _ridge(x, y, strength):
    """Primal ridge regression whose intercept is free; the penalty is that of the full fit."""
    design = torch.cat([x, torch.ones(len(x), 1).double()], 1)
    penalty = strength * torch.eye(design.shape[1]).double()
    penalty[-1, -1] = 0
    slope = torch.linalg.solve(design.T @ design + penalty, design.T @ y)
    return lambda new: torch.cat([new, torch.ones(len(new), 1).double()], 1) @ slope


class TestErrors:
    def test_left_out_runs_are_harder_than_known_ones(self, trained_map, trained):
        z, errors, runs = calibration_errors(trained_map, trained)
        n = len(trained.train.metrics)
        fitted = trained_map.predict_metrics(torch.from_numpy(z)) - torch.cat(
            [metrics_of(trained.train), metrics_of(trained.validation)]
        )
        assert (errors[:n].mean(0) > fitted[:n].abs().mean(0).numpy()).all()
        np.testing.assert_allclose(errors[n:], fitted[n:].abs().numpy(), atol=1e-6)
        assert list(runs) == [*runs_of(trained.train), *runs_of(trained.validation)]

    def test_neighbours_are_of_other_runs(self):
        z = np.arange(4.0, dtype=np.float32)[:, None]
        apart = distances(z, z, np.array(["a", "a", "b", "b"]))
        assert np.isinf(apart[0, 1])
        assert apart[0, 2] == 2

    def test_local_errors_are_local(self):
        z = np.repeat([[0.0], [100.0]], 40, axis=0).astype(np.float32)
        errors = np.repeat([[0.0, 0, 0], [1.0, 1, 1]], 40, axis=0)
        near, far = local_errors(distances(z[[0, -1]], z), errors)[:, 0]
        assert (near, far) == pytest.approx((0.25, 1.25))


class TestCalibration:
    def test_intervals_hold_the_prediction_and_stay_in_range(
        self, trained_calibration, trained_map, trained
    ):
        z = trained_map.encode(all_weights(trained.test))
        metrics = trained_map.predict_metrics(z).double().numpy()
        low, high = trained_calibration.intervals(z.numpy(), metrics)
        assert (low <= metrics).all()
        assert (metrics <= high).all()
        assert (low >= LOWEST).all()
        assert (high <= 1).all()

    def test_the_test_runs_are_not_read(self, trained_calibration, trained_map, trained):
        blind = replace(trained, test=replace(trained.test, metrics=trained.test.metrics * 0))
        again = calibrate(trained_map, blind)
        np.testing.assert_array_equal(again.quantiles, trained_calibration.quantiles)

    def test_most_test_runs_are_covered(self, trained_map, trained):
        intervals = interval_table(trained_map, trained).assign(library="small")
        assert set(intervals["rule"]) == set(RULES)
        table = coverage_table(intervals)
        left_out = table[table["split"] == "left out"]
        assert left_out["coverage"].between(0.85, 1).all()
        assert (table["low"] <= table["coverage"]).all()
        assert (table["coverage"] <= table["high"]).all()

    def test_round_trip(self, trained_calibration, trained_map, trained, tmp_path):
        save_calibration(trained_calibration, tmp_path / "trained_calibration.safetensors")
        again = load_calibration(tmp_path / "trained_calibration.safetensors")
        np.testing.assert_array_equal(again.quantiles, trained_calibration.quantiles)
        assert again.offmap.thresholds == trained_calibration.offmap.thresholds
        z = trained_map.encode(all_weights(trained.test))
        metrics = trained_map.predict_metrics(z).double().numpy()
        for a, b in zip(
            again.intervals(z.numpy(), metrics),
            trained_calibration.intervals(z.numpy(), metrics),
            strict=True,
        ):
            np.testing.assert_allclose(a, b, atol=1e-6)

    def test_other_files_are_refused_by_path(self, tmp_path):
        missing, text, other = (tmp_path / name for name in ("none", "text", "other"))
        text.write_text("not a calibration")
        save_file({"z": torch.zeros(2)}, other, {"facts": json.dumps({})})
        for path in (missing, text, other):
            with pytest.raises(CheckpointError, match=f"{path}: expected a calibration"):
                load_calibration(path)


class TestPredict:
    @pytest.fixture
    def files(self, trained, tmp_path):
        """The small library's test checkpoints, as files in a folder."""
        from epsvae.subjects.ternary.library.files import Checkpoint

        vectors = all_weights(trained.test)
        for i, vector in enumerate(vectors[:3]):
            state = trained.test.layout.unflatten(vector)
            radius = float(state.pop("max_radius"))
            checkpoint = Checkpoint(state, trained.test.architecture, radius)
            save_checkpoint(tmp_path / "run" / f"{i}.safetensors", checkpoint)
        return tmp_path / "run"

    @pytest.fixture
    def asked(self, trained_map, trained_calibration):
        return TernaryMap(trained_map, trained_calibration)

    def test_a_folder_stands_for_its_files(self, asked, files):
        outcome = predict_files(asked, [files])
        assert list(outcome.table.columns) == list(columns(asked))
        assert list(outcome.table["file"]) == [str(f) for f in sorted(files.iterdir())]
        assert outcome.refused == []

    def test_an_empty_folder_is_refused(self, trained_map, tmp_path):
        outcome = predict_files(TernaryMap(trained_map), [tmp_path])
        assert outcome.table.empty
        (reason,) = outcome.refused
        assert reason.startswith(f"{tmp_path}: expected checkpoint files in the folder")

    def test_the_table_agrees_with_the_calibration(
        self, asked, trained_map, trained_calibration, files
    ):
        table = predict_files(asked, [files]).table
        z = torch.stack([trained_map.encode(load_checkpoint(f)) for f in table["file"]])
        metrics = trained_map.predict_metrics(z).double().numpy()
        low, high = trained_calibration.intervals(z.numpy(), metrics)
        for column, name in enumerate(METRIC_NAMES):
            np.testing.assert_allclose(table[f"{name}_low"], low[:, column], atol=1e-6)
            np.testing.assert_allclose(table[f"{name}_high"], high[:, column], atol=1e-6)

    def test_a_zeroed_layer_is_flagged_and_named(self, asked, files):
        checkpoint = load_checkpoint(files / "0.safetensors")
        state = dict(checkpoint.state)
        state["encoder_B.encoder.2.weight"] = torch.zeros_like(state["encoder_B.encoder.2.weight"])
        save_checkpoint(files / "broken.safetensors", replace(checkpoint, state=state))
        outcome = predict_files(asked, [files / "broken.safetensors"])
        table = outcome.table
        assert table["flag"].tolist() == [True]
        assert "weights (encoder_B" in table["why"][0]
        text = readable(outcome, asked)
        assert "OFF MAP" in text
        assert "[" not in text

    def test_text_has_an_interval_for_each_metric(self, asked, files):
        outcome = predict_files(asked, [files])
        for row in outcome.rows:
            row["flag"] = False
        header, *rows = readable(outcome, asked).splitlines()
        assert [name in header for name in METRIC_NAMES] == [True] * 3
        assert [row.count("[") for row in rows] == [3] * len(rows)

    def test_without_a_calibration_there_is_no_claim(self, trained_map, files):
        outcome = predict_files(TernaryMap(trained_map), [files])
        table = outcome.table
        assert list(table.columns) == ["file", *METRIC_NAMES]
        assert "OFF MAP" not in readable(outcome, TernaryMap(trained_map))
        assert isinstance(table, pd.DataFrame)
