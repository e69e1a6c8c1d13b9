"""The first table of a subject: what each row may see, and that the map is worth its inputs."""

from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import torch

from epsvae.checkpoints import write_state
from epsvae.loading import load_subject
from research.counting import k_medoids
from research.first_results import first_results, fit_library, markdown, readable

TOYS = Path(__file__).resolve().parents[1] / "toys"


def write_library(root, subject):
    spec = spec_from_file_location("zoo", TOYS / "zoo.py")
    zoo = module_from_spec(spec)
    spec.loader.exec_module(zoo)
    for seed, (split, n_runs) in enumerate({"train": 20, "validation": 8, "test": 8}.items()):
        for step, example in enumerate(zoo.blobs_zoo(subject, n_runs, seed, 3)):
            path = root / split / example.run / f"step-{step}.safetensors"
            write_state(path, example.state, step, example.metrics)


def test_every_row_is_judged_on_new_runs(tmp_path):
    subject = load_subject(TOYS / "blobs.py")
    write_library(tmp_path, subject)
    table = first_results(tmp_path, fit_library(tmp_path, subject, 16))
    assert "map" in readable(table)
    kept = ["subject", "split", "checkpoints", "row", "inputs", "metric"]
    numbers = ["error", "low", "high", "ratio", "ratio_low", "ratio_high", "held"]
    assert list(table.columns) == kept + numbers
    assert set(table["split"]) == {"test", "test, on the map"}
    assert table.groupby("split")["checkpoints"].first().tolist() == [24, 24]
    assert (table["held"].notna() == (table["row"] == "map")).all()
    table = table[table["split"] == "test"]
    assert len(table) == 5 * 3 and table["error"].notna().all()
    assert ((table["low"] <= table["error"]) & (table["error"] <= table["high"])).all()
    error = table.set_index(["row", "metric"])["error"]
    for metric in ("accuracy", "nll"):
        assert error["map", metric] < error["random subset", metric]
        assert error["map", metric] < error["constant", metric]
    own = table[table["row"] == "map"]
    assert (own[["ratio", "ratio_low", "ratio_high"]] == 1).all(axis=None)
    ratio = table.set_index(["row", "metric"])["ratio"]
    assert ratio["constant", "nll"] == error["map", "nll"] / error["constant", "nll"]
    page = markdown(table)
    assert page.count("\n") == 1 + 3
    assert f"| blobs | nll | {error['map', 'nll']:.4f} [" in page
    free = table[table["inputs"] == 0]["row"].unique().tolist()
    assert free == ["layer statistics with trees", "constant"]


def test_medoids_are_the_middles_of_clusters():
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]]).repeat_interleave(20, 0)
    points = centres + 0.1 * torch.randn(60, 2, generator=generator)
    medoids, members = k_medoids(torch.cdist(points, points), 3, generator)
    assert sorted((medoids // 20).tolist()) == [0, 1, 2]
    assert torch.bincount(members).tolist() == [20, 20, 20]
