"""The code of the seed document runs as printed, on real checkpoints and the released map.

Its blocks are read from the document where a checkout has it beside it. The same calls, in our
words, run everywhere.
"""

import re
import shutil
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from sklearn.cluster import KMeans
from sklearn.manifold import TSNE

import epsvae
from epsvae import (
    extract_key_weights,
    find_pareto_efficient,
    load_checkpoint,
    load_epsilon_vae,
    open_release,
)

pytestmark = pytest.mark.numbers

ROOT = Path(__file__).resolve().parents[1]
DOCUMENT = ROOT.parent / "shared" / "seed" / "epsilon-vae-seed.md"
RELEASE = open_release(ROOT / "data" / "reference")
FILES = RELEASE.checkpoint_files()
EPOCHS = (0, 10, 20, 50, 100)
PATHS = [f"run/epoch_{epoch}.pt" for epoch in EPOCHS]
MAP = "epsilon_vae_hybrid_models/best.pt"


@pytest.fixture(scope="module", autouse=True)
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A folder as the document has it: a trained map, and a run in published files."""
    folder = tmp_path_factory.mktemp("sandbox-training")
    (folder / MAP).parent.mkdir()
    (folder / "run").mkdir()
    shutil.copyfile(RELEASE.folder / "aligned" / "map.pt", folder / MAP)
    for path, source in zip(PATHS, FILES[1:11:2], strict=True):
        checkpoint = load_checkpoint(source)
        contents = {"model_state_dict": checkpoint.state, "epoch": checkpoint.epoch}
        torch.save(contents, folder / path)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        torch.manual_seed(0)
        yield folder
        plt.close("all")


def given_names() -> dict[str, Any]:
    """What the document takes for granted: its data, and two libraries by their usual names."""
    checkpoints = {regime: load_checkpoint(_of_regime(regime)) for regime in ("frozen", "unfrozen")}
    return {
        "new_checkpoint": checkpoints["unfrozen"],
        "weights_frozen_encoder": extract_key_weights(checkpoints["frozen"]),
        "weights_unfrozen_encoder": extract_key_weights(checkpoints["unfrozen"]),
        "all_checkpoints": [extract_key_weights(load_checkpoint(file)) for file in FILES[::2]],
        "plt": plt,
        "torch": torch,
    }


def _of_regime(regime: str) -> Path:
    """The last checkpoint of a released run of a regime."""
    runs = set(RELEASE.index.loc[RELEASE.index["regime"] == regime, "run"])
    return [file for file in FILES if file.parent.name in runs][-1]


@pytest.mark.skipif(not DOCUMENT.is_file(), reason="the seed document is not beside the checkout")
def test_the_seven_blocks_run_as_printed(capsys: pytest.CaptureFixture[str]) -> None:
    blocks = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(encoding="utf8"), re.DOTALL)
    assert len(blocks) == 7
    imports = "load_epsilon_vae, extract_key_weights, find_pareto_efficient, load_checkpoint"
    names = given_names()
    exec(f"from epsvae import {imports}", names)
    for number, block in enumerate(blocks, start=1):
        exec(compile(block, f"<block {number} of the seed document>", "exec"), names)
    assert names["predicted_metrics"].shape == (3,)
    printed = capsys.readouterr().out
    assert re.match(r"alpha=0\.0: coverage=[01]\.\d{3}, dist_corr=-?0\.\d{3}\n", printed)
    assert names["pareto_metrics"].shape == (len(names["pareto_z"]), 3)
    assert len(set(names["clusters"].tolist())) == 5
    assert names["embeddings_2d"].shape == (256, 2)
    assert names["trajectory"].shape == (5, 64)
    assert names["trajectory_length"] >= names["overall_direction"].norm() > 0


@pytest.fixture(scope="module")
def model() -> Any:
    """The map, from the place that the document names."""
    return load_epsilon_vae(MAP)


@pytest.fixture(scope="module")
def names() -> dict[str, Any]:
    return given_names()


def test_quality_prediction(model: Any, names: dict[str, Any]) -> None:
    weights = extract_key_weights(names["new_checkpoint"])
    assert weights.shape == (95_808,)
    z = model.encode(weights)
    coverage, distance_correlation, hierarchy = model.predict_metrics(z)
    assert z.shape == (64,)
    assert 0 <= coverage <= 1
    assert -1 <= hierarchy < 0 < distance_correlation <= 1


def test_interpolation(model: Any, names: dict[str, Any]) -> None:
    ends = [model.encode(names[f"weights_{kind}_encoder"]) for kind in ("frozen", "unfrozen")]
    predicted = []
    for alpha in (0.0, 0.25, 0.5, 0.75, 1.0):
        z = (1 - alpha) * ends[0] + alpha * ends[1]
        assert model.decode_embeddings(z).shape == (256, 16)
        metrics = model.predict_metrics(z)
        predicted.append(metrics)
        assert re.fullmatch(r"[01]\.\d{3} -?[01]\.\d{3}", f"{metrics[0]:.3f} {metrics[1]:.3f}")
    coverages = torch.stack(predicted)[:, 0]
    assert (coverages.diff() <= 1e-6).all() or (coverages.diff() >= -1e-6).all()


@pytest.fixture(scope="module")
def front(model: Any) -> torch.Tensor:
    """z of the non-dominated among many samples."""
    samples = torch.randn(10_000, 64, generator=torch.Generator().manual_seed(0))
    metrics = model.predict_metrics(samples)
    assert metrics.shape == (10_000, 3)
    mask = find_pareto_efficient(-metrics[:, :2])
    assert mask.shape == (10_000,)
    best = metrics[mask][:, :2]
    for point in metrics[~mask][::500, :2]:  # each of the others is beaten by one of the best
        assert ((best >= point).all(1) & (best > point).any(1)).any()
    return samples[mask]


def test_sampling_for_discovery(model: Any, front: torch.Tensor) -> None:
    noise = torch.randn(100, 64, generator=torch.Generator().manual_seed(1))
    for z in front.mean(dim=0) + 0.5 * front.std(dim=0) * noise:
        metrics = model.predict_metrics(z)
        assert bool(metrics[0] > 0.95 and metrics[1] > 0.8) in (True, False)
        assert model.decode_embeddings(z).norm(dim=-1).max() < 1
        assert f"{metrics}".startswith("tensor([")


def test_clustering(model: Any, names: dict[str, Any]) -> None:
    z = torch.stack([model.encode(weights) for weights in names["all_checkpoints"]])
    clusters = KMeans(n_clusters=5, random_state=0).fit_predict(z)
    assert set(clusters.tolist()) == set(range(5))


def test_visualisation(model: Any, names: dict[str, Any]) -> None:
    points = model.decode_embeddings(model.encode(names["all_checkpoints"][0]))
    flat = TSNE(n_components=2, max_iter=250, random_state=0).fit_transform(points)
    assert flat.shape == (256, 2)
    assert np.isfinite(flat).all()
    plt.scatter(flat[:, 0], flat[:, 1])
    plt.title("Predicted Embedding Structure")


def test_trajectory(model: Any) -> None:
    """`encode` takes what `load_checkpoint` gives, from a published file."""
    steps = [model.encode(load_checkpoint(path)) for path in PATHS]
    trajectory = torch.stack(steps)
    length = sum((b - a).norm() for a, b in zip(steps[:-1], steps[1:], strict=True))
    assert length >= (trajectory[-1] - trajectory[0]).norm() > 0


def test_the_names_are_those_of_the_package() -> None:
    for name in epsvae.__all__:
        assert getattr(epsvae, name).__name__ == name
    with pytest.raises(AttributeError, match="module 'epsvae' has no attribute 'load_model'"):
        _ = epsvae.load_model  # type: ignore[attr-defined]
