"""The text library: stacked training is the plain one; runs resume; families are held out."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from epsvae.subjects.source_text import encode
from epsvae.subjects.text import Text
from research.text import plain
from research.text.bench import compare
from research.text.factory import SMALL, Plan, build_library, train
from research.text.recipes import FAMILIES, HELD_FAMILIES, SPLITS, WIDTHS, draw_library
from research.text.stacked import Stack, logits
from research.text.training import LOWER, Reader, first_state, rate_at
from research.text.trigram import Trigram

pytestmark = pytest.mark.numbers

TINY = Plan(steps=6, checkpoints=2, first=2, windows=100)


@pytest.fixture(scope="module")
def recipes():
    return draw_library()


def of_width(recipes, width, number):
    return [recipe for recipe in recipes if recipe.width == width][:number]


def test_library_is_large_enough_and_families_are_held_out(recipes):
    assert len(recipes) == sum(runs for _, runs in SPLITS) >= 40
    assert len(Plan().kept) == len(set(Plan().kept)) >= 12
    assert len({recipe.name for recipe in recipes}) == len(recipes)
    learned = {r.family for r in recipes if r.split != "heldout"}
    assert learned == set(FAMILIES)
    assert {r.family for r in recipes if r.split == "heldout"} == set(HELD_FAMILIES)
    noise = [r.corruption for r in recipes if r.split != "heldout"]
    assert max(noise) <= 0.25
    for split in dict(SPLITS):
        assert {r.width for r in recipes if r.split == split} == set(WIDTHS)


@pytest.mark.parametrize("width", WIDTHS)
def test_stacked_logits_are_the_modules(recipes, width):
    states = [first_state(recipe) for recipe in of_width(recipes, width, 3)]
    x, subject = Reader(recipes[0]).read(3)[..., :-1], Text(8)
    with torch.no_grad():
        together = logits(Stack(states).state, x)
        single = [subject.build(s)(x[i]) for i, s in enumerate(states)]
    torch.testing.assert_close(together, torch.stack(single).flatten(1, 2), rtol=0, atol=1e-4)


def test_stacked_training_is_the_plain_loop(recipes):
    group = of_width(recipes, 24, 4)
    windows = torch.stack([Reader(recipe).read(6) for recipe in group], 1)
    stack = Stack([first_state(recipe) for recipe in group])
    singles = [plain.module_and_optimizer(recipe) for recipe in group]
    decay = torch.tensor([recipe.decay for recipe in group])
    for step, batch in enumerate(windows, 1):
        rates = [rate_at(recipe, step, 10) for recipe in group]
        losses = stack.step(batch, torch.tensor(rates), decay)
        plain_losses = [
            plain.step(module, optimizer, batch[i], rates[i])
            for i, (module, optimizer) in enumerate(singles)
        ]
        torch.testing.assert_close(losses, torch.stack(plain_losses), rtol=0, atol=1e-4)
    for state, (module, _) in zip(stack.states(), singles, strict=True):
        for name, tensor in module.state_dict().items():
            torch.testing.assert_close(state[name], tensor, rtol=0, atol=1e-4)


def test_a_run_does_not_depend_on_its_company(recipes):
    group = of_width(recipes, 24, 3)
    *_, (step, together) = train(group, TINY)
    *_, (_, alone) = train(group[1:2], TINY)
    assert step == 6
    for name, tensor in alone[0].items():
        torch.testing.assert_close(together[1][name], tensor, rtol=0, atol=1e-4)


def test_rate_rises_then_falls_to_its_end(recipes):
    recipe = next(r for r in recipes if r.final_rate < 1)
    assert rate_at(recipe, 50, 8000) == pytest.approx(recipe.rate / 2, rel=0.01)
    assert rate_at(recipe, 8000, 8000) == pytest.approx(recipe.rate * recipe.final_rate)


def test_readers_keep_to_their_recipe(recipes):
    lower = Reader(next(r for r in recipes if r.lower)).read(200)
    assert not torch.isin(lower, encode("ABCXYZ")).any()
    assert LOWER[encode("aB\n é")].tolist() == encode("ab\n é").tolist()
    scarce = min((r for r in recipes if r.corruption == 0), key=lambda r: r.share)
    seen = {tuple(row[:20].tolist()) for row in Reader(scarce).read(2000).flatten(0, 1)}
    assert len(seen) < 4200  # of 8,000 windows: its piece of text has no more places
    noisy = next(r for r in recipes if r.corruption > 0.4)
    symbols = Reader(noisy).read(100)
    assert (symbols == encode("é")).float().mean() > 0.5 * noisy.corruption / 97


def test_library_from_end_to_end_and_resumed(tmp_path):
    chosen = draw_library([("train", 2), ("heldout", 1)])
    build_library(tmp_path, chosen, SMALL, processes=1)
    files = sorted(tmp_path.rglob("*.safetensors"))
    assert len(files) == len(chosen) * SMALL.checkpoints
    assert {path.parts[-3] for path in files} == {"train", "heldout"}
    for path in files:
        with safe_open(path, "pt") as file:
            notes = file.metadata()
        metrics = json.loads(notes["metrics"])
        assert f"step-{int(notes['step']):06d}.safetensors" == path.name
        assert set(metrics) == {"bits", "closing", "copying"}
    measured = Text(SMALL.windows).measure(Text(8).build(load_file(files[-1])))
    assert metrics == pytest.approx(measured, abs=1e-4)
    recipe = json.loads((files[-1].parent / "recipe.json").read_text())
    assert recipe["family"] in files[-1].parent.name

    kept, before = files[1], load_file(files[0])
    stamp = kept.stat().st_mtime_ns
    (files[0].parent / "recipe.json").unlink()
    files[0].unlink()
    build_library(tmp_path, chosen, SMALL, processes=1)
    assert (files[0].parent / "recipe.json").is_file()
    assert kept.stat().st_mtime_ns == stamp
    for name, tensor in load_file(files[0]).items():
        torch.testing.assert_close(before[name], tensor, rtol=0, atol=1e-4)


def test_bench_times_both_ways(recipes):
    assert min(compare(of_width(recipes, 24, 2), rounds=1, steps=1)) > 0


def test_trigram_is_a_mixture_of_counts():
    model = Trigram(encode("abcabdabc" * 50))
    shares = model(encode("ab")[None]).exp()[0]
    torch.testing.assert_close(shares.sum(-1), torch.ones(2, dtype=torch.float64))
    assert shares[0].argmax() == encode("b")
    c, d = (float(shares[1, encode(x)]) for x in "cd")
    assert c == pytest.approx(2 / 3, abs=0.05) and d == pytest.approx(1 / 3, abs=0.05)
