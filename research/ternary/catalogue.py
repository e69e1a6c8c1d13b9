"""The libraries of this project, declared run by run.

*aligned* mirrors the published library: 825 training checkpoints from 48 runs and 77 validation
checkpoints from 7 later runs, all on one base and one projection init; 24 test runs that nothing is
ever selected on. The other libraries ask what a map does where that comfort ends.
"""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from typing import Any

import numpy as np

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import Architecture
from research.ternary.recipes import BaseRecipe, Recipe, Regime, Split, draw_recipe

MIX: tuple[Regime, ...] = ("frozen", "progressive", "unfrozen", "homeostatic")

Planned = tuple[Regime, dict[str, Any]]
"""A run before its hyperparameters are drawn: its regime, and the fields that are not drawn."""

LONG = {"epochs": 25, "n_checkpoints": 20}
SHORT = {"epochs": 22, "n_checkpoints": 11}
SPARSE = {"epochs": 24, "n_checkpoints": 6}

ARCHITECTURES = {
    "hidden-32": Architecture(projection_hidden=32),
    "hidden-128": Architecture(projection_hidden=128),
    "deep-projection": Architecture(projection_layers=2),
    "shared-projection": Architecture(shared_projection=True),
    "half-encoder": Architecture(encoder_widths=(128, 64, 32)),
    "double-encoder": Architecture(encoder_widths=(512, 256, 128)),
}
"""The architectures that a map trained on the published one is tested on."""


def catalogue(scale: str = "full") -> dict[str, list[Recipe]]:
    """Recipes of every library by name; ``small`` keeps a few runs of each, for tests.

    Raises LibraryError for any other scale.
    """
    if scale not in ("full", "small"):
        raise LibraryError(f"scale: expected 'full' or 'small', found {scale!r}")
    libraries = {
        "aligned": aligned(),
        "unaligned": unaligned(),
        "bases": bases(),
        "architectures": architectures(),
        "oracle": oracle(),
    }
    if scale == "full":
        return libraries
    return {name: _first_of_each_split(recipes) for name, recipes in libraries.items()}


def _first_of_each_split(recipes: list[Recipe], n_runs: int = 4) -> list[Recipe]:
    splits = {recipe.split: [r for r in recipes if r.split == recipe.split] for recipe in recipes}
    return [recipe for runs in splits.values() for recipe in runs[:n_runs]]


def aligned() -> list[Recipe]:
    """48 training runs (33 of 20 checkpoints, 15 of 11), 7 validation and 24 test runs of 11."""
    rng = np.random.default_rng(1)
    lengths = [LONG] * 33 + [SHORT] * 15
    order = rng.permutation(len(lengths))
    train = [lengths[i] for i in order]
    plan: list[tuple[Split, dict[str, int]]] = [("train", length) for length in train]
    plan.extend([("validation", SHORT)] * 7)
    plan.extend([("test", SHORT)] * 24)
    return _mixed("aligned", plan, rng)


def unaligned() -> list[Recipe]:
    """192 training, 16 validation and 32 test runs; each starts from its own projection init."""
    rng = np.random.default_rng(2)
    plan: list[tuple[Split, dict[str, int]]] = [("train", SPARSE)] * 192
    plan.extend([("validation", SPARSE)] * 16)
    plan.extend([("test", SPARSE)] * 32)
    return _mixed("unaligned", plan, rng, first_init=1000)


def fresh(library: str, n_runs: int) -> list[Recipe]:
    """More test runs, like those of `aligned` or `unaligned` and unlike any of the catalogue.

    They come last: nothing that a map was chosen by has seen them. Their library is called
    ``fresh-aligned`` or ``fresh-unaligned``. Raises LibraryError for any other.
    """
    drawn = {"aligned": (6, SHORT, None), "unaligned": (7, SPARSE, 5000)}
    if library not in drawn:
        raise LibraryError(f"library: expected {' or '.join(drawn)}, found {library!r}")
    seed, length, first_init = drawn[library]
    plan: list[tuple[Split, dict[str, int]]] = [("test", length)] * n_runs
    return _mixed(f"fresh-{library}", plan, np.random.default_rng(seed), first_init)


def bases() -> list[Recipe]:
    """Test runs off the shared base: 3 other bases with 3 runs each, 4 runs from scratch."""
    plan: list[Planned] = []
    for seed in range(1, 8):
        base = {"base": BaseRecipe(name=f"base-{seed}", seed=seed)}
        regimes: tuple[Regime, ...] = ("frozen", "progressive", "unfrozen")
        plan += [(regime, base | SPARSE) for regime in (regimes if seed < 4 else ("scratch",))]
    return _draw("bases", plan, np.random.default_rng(3))


def architectures() -> list[Recipe]:
    """Two test runs of each other architecture, one frozen and one released."""
    regimes: tuple[Regime, ...] = ("frozen", "unfrozen")
    plan: list[Planned] = [
        (regime, {"base": BaseRecipe(name=f"base-{name}", architecture=network)} | SPARSE)
        for name, network in ARCHITECTURES.items()
        for regime in regimes
    ]
    recipes = _draw("architectures", plan, np.random.default_rng(4))
    return [replace(r, name=f"{r.name}-{r.base.name.removeprefix('base-')}") for r in recipes]


def oracle() -> list[Recipe]:
    """Runs that keep a reconstruction term: the region that a map should point to unseen."""
    return _draw("oracle", [("oracle", SPARSE)] * 6, np.random.default_rng(5))


def _mixed(
    library: str,
    lengths: Sequence[tuple[Split, dict[str, int]]],
    rng: np.random.Generator,
    first_init: int | None = None,
) -> list[Recipe]:
    """One recipe for each planned run, of the regimes of `MIX` in equal shares and random order.

    All share one projection init, or each has its own, numbered from `first_init` on.
    """
    regimes = list(islice(cycle(MIX), len(lengths)))
    plan: list[Planned] = []
    for started, (i, (split, length)) in enumerate(
        zip(rng.permutation(len(lengths)), lengths, strict=True)
    ):
        init = 0 if first_init is None else first_init + started
        plan.append((regimes[i], {"split": split, "init_seed": init, **length}))
    return _draw(library, plan, rng)


def _draw(library: str, plan: Sequence[Planned], rng: np.random.Generator) -> list[Recipe]:
    """One recipe for each planned run, in the order in which the runs are started."""
    recipes = []
    for started, (regime, fields) in enumerate(plan):
        known = {"name": f"{library}-{started:03d}", "library": library, "split": "test"}
        recipes.append(draw_recipe(regime, rng, **(known | {"started": started} | fields)))
    return recipes
