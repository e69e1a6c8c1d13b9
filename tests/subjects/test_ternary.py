"""The ternary subject keeps its side of the seam, and says what the subject's own code says."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from epsvae.conformance import check
from epsvae.errors import CheckpointError
from epsvae.map.calibrated import look_at
from epsvae.subjects.ternary.library.files import load_checkpoint
from epsvae.subjects.ternary.metrics import METRIC_NAMES
from epsvae.subjects.ternary.subject import Ternary

pytestmark = pytest.mark.numbers

REFERENCE = Path(__file__).resolve().parents[2] / "data" / "reference"
FILES = sorted((REFERENCE / "checkpoints").glob("*/*.safetensors"))[::9]


@pytest.fixture(scope="module")
def ternary():
    return Ternary()


def test_it_keeps_its_side_of_the_seam(ternary):
    assert check(ternary, [ternary.read(file).state for file in FILES[:2]]) == []


def test_its_items_and_its_evaluation_are_what_the_file_measured(ternary):
    file = ternary.read(FILES[0])
    module = ternary.build(file.state)
    with torch.no_grad():
        items = ternary.items(ternary.answer(module, ternary.inputs), ternary.targets)
    assert float(items["coverage"].mean()) == pytest.approx(file.metrics["coverage"], abs=1e-3)
    measured = ternary.measure(module)
    assert measured == pytest.approx(asdict(load_checkpoint(FILES[0]).metrics), abs=2e-3)


def test_scores_of_many_operations_come_close_to_the_evaluation(ternary):
    file = ternary.read(FILES[0])
    part = torch.randperm(len(ternary.inputs), generator=torch.Generator().manual_seed(0))[:2000]
    inputs = ternary.inputs[part]
    with torch.no_grad():
        answers = ternary.answer(ternary.build(file.state), inputs)
    assert ternary.scores(answers, inputs) == pytest.approx(file.metrics, abs=0.05)


def test_a_stack_answers_as_each_does(ternary):
    states, inputs = [ternary.read(file).state for file in FILES], ternary.inputs[::2000]
    together = ternary.answer_stack(states, inputs)
    for state, answers in zip(states, together, strict=True):
        with torch.no_grad():
            alone = ternary.answer(ternary.build(state), inputs)
        torch.testing.assert_close(answers, alone, rtol=1e-4, atol=1e-4)


def test_the_released_map_is_asked_through_the_seam(ternary):
    asked = ternary.open_map(REFERENCE / "both" / "map.pt")
    checkpoint = asked.open(FILES[-1])
    place = look_at(asked, checkpoint, FILES[-1])
    assert [metric.name for metric in asked.metrics] == list(METRIC_NAMES)
    assert (place.low <= place.metrics).all()
    assert (place.metrics <= place.high).all()
    assert not place.flag
    assert len(ternary.places(REFERENCE / "both" / "map.pt").z) > 1000


def test_another_network_is_refused_by_name(ternary):
    with pytest.raises(CheckpointError, match="TernaryVAE"):
        ternary.build({"a": torch.zeros(2)})
