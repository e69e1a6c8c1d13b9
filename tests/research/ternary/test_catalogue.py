"""The catalogue declares the libraries of the design: their sizes, their sides, what they share."""

from collections import Counter

import pandas as pd
import pytest

from epsvae.errors import LibraryError
from epsvae.subjects.ternary import PUBLISHED
from epsvae.subjects.ternary.library.layout import key_layout
from epsvae.subjects.ternary.library.splits import assert_disjoint
from research.ternary.catalogue import ARCHITECTURES, MIX, catalogue, fresh

LIBRARIES = catalogue()
ALL = [recipe for recipes in LIBRARIES.values() for recipe in recipes]


def sizes(recipes):
    """(runs, checkpoints) of each split."""
    runs = Counter(r.split for r in recipes)
    files = Counter()
    for recipe in recipes:
        files[recipe.split] += recipe.n_checkpoints
    return {split: (runs[split], files[split]) for split in runs}


@pytest.mark.parametrize(
    ("library", "expected"),
    [
        ("aligned", {"train": (48, 825), "validation": (7, 77), "test": (24, 264)}),
        ("unaligned", {"train": (192, 1152), "validation": (16, 96), "test": (32, 192)}),
        ("bases", {"test": (13, 78)}),
        ("architectures", {"test": (12, 72)}),
        ("oracle", {"test": (6, 36)}),
    ],
)
def test_sizes(library, expected):
    assert sizes(LIBRARIES[library]) == expected


@pytest.mark.parametrize("library", ["aligned", "unaligned", "bases", "oracle"])
def test_all_key_vectors_have_the_published_width(library):
    assert {key_layout(r.architecture).n_weights for r in LIBRARIES[library]} == {95_808}


def test_aligned_runs_share_base_and_projection_init():
    recipes = LIBRARIES["aligned"] + LIBRARIES["oracle"]
    assert len({recipe.base for recipe in recipes}) == 1
    assert {recipe.init_seed for recipe in recipes} == {0}


def test_unaligned_runs_share_the_base_and_no_projection_init():
    inits = [recipe.init_seed for recipe in LIBRARIES["unaligned"]]
    assert len(set(inits)) == len(inits)
    assert 0 not in inits
    assert {recipe.base for recipe in LIBRARIES["unaligned"]} == {LIBRARIES["aligned"][0].base}


def test_other_bases_are_other_bases():
    recipes = LIBRARIES["bases"]
    shared = LIBRARIES["aligned"][0].base
    assert len({r.base for r in recipes}) == 7
    assert shared.seed not in {r.base.seed for r in recipes}
    own = [r.base for r in recipes if r.regime == "scratch"]
    assert len(own) == len(set(own)) == 4  # a run from scratch shares its base with no other


def test_architectures_each_differ_from_the_published_one():
    recipes = LIBRARIES["architectures"]
    found = Counter(r.architecture for r in recipes)
    assert set(found) == set(ARCHITECTURES.values())
    assert set(found.values()) == {2}
    assert PUBLISHED not in found
    assert any(a.shared_projection for a in found)


@pytest.mark.parametrize("scale", ["full", "small"])
def test_no_run_is_on_both_sides_and_held_out_runs_start_later(scale):
    recipes = [r for runs in catalogue(scale).values() for r in runs]
    index = pd.DataFrame(
        {
            "library": [r.library for r in recipes],
            "run": [r.name for r in recipes],
            "split": [r.split for r in recipes],
            "started": [r.started for r in recipes],
            "file": [r.name for r in recipes],
            "sha256": [f"{r.library}/{r.name}" for r in recipes],
        }
    )
    assert_disjoint(index)
    assert not index.duplicated(["library", "run"]).any()


def test_runs_are_started_one_after_the_other():
    for recipes in LIBRARIES.values():
        assert [r.started for r in recipes] == list(range(len(recipes)))


@pytest.mark.parametrize("library", ["aligned", "unaligned"])
def test_regimes_come_in_equal_shares_on_every_side(library):
    counts = Counter(r.regime for r in LIBRARIES[library])
    assert set(counts) == set(MIX)
    assert max(counts.values()) - min(counts.values()) <= 1
    for split in ("train", "test"):
        assert {r.regime for r in LIBRARIES[library] if r.split == split} == set(MIX)


def test_only_the_oracle_keeps_a_reconstruction_term():
    assert {r.library for r in ALL if r.reconstruction_weight > 0} == {"oracle"}
    assert all(r.reconstruction_weight > 0 for r in LIBRARIES["oracle"])


def test_no_two_runs_are_the_same():
    assert len({r.seed for r in ALL}) == len(ALL)
    assert len({r.lr for r in ALL}) == len(ALL)
    assert len({r.name for r in ALL}) == len(ALL)


def test_checkpoints_are_evenly_spaced_and_end_with_the_run():
    assert all(r.steps_per_checkpoint * r.n_checkpoints == r.steps for r in ALL)


def test_the_catalogue_is_the_same_every_time():
    assert catalogue() == LIBRARIES


def test_small_is_the_beginning_of_each_split():
    for library, recipes in catalogue("small").items():
        assert set(recipes) <= set(LIBRARIES[library])
        assert set(sizes(recipes)) == set(sizes(LIBRARIES[library]))
        assert max(runs for runs, _ in sizes(recipes).values()) == 4


def test_a_mistyped_scale_builds_nothing():
    with pytest.raises(LibraryError, match="scale: expected 'full' or 'small', found 'ful'"):
        catalogue("ful")


@pytest.mark.parametrize("library", ["aligned", "unaligned"])
def test_fresh_runs_are_drawn_alike_and_share_nothing_but_what_the_library_shares(library):
    runs, known = fresh(library, 256), [r for r in LIBRARIES[library] if r.split == "test"]
    assert {(r.epochs, r.n_checkpoints, r.base, r.split) for r in runs} == {
        (r.epochs, r.n_checkpoints, r.base, r.split) for r in known
    }
    assert Counter(r.regime for r in runs) == dict.fromkeys(MIX, 64)
    for field in ("seed", "lr", "name", "library"):
        assert {getattr(r, field) for r in runs}.isdisjoint(getattr(r, field) for r in ALL)
    inits = {r.init_seed for r in runs}
    if library == "aligned":
        assert inits == {known[0].init_seed}
    else:
        assert len(inits) == 256 and inits.isdisjoint(r.init_seed for r in ALL)


def test_only_libraries_with_test_runs_have_fresh_ones():
    with pytest.raises(LibraryError, match="expected aligned or unaligned, found 'bases'"):
        fresh("bases", 4)
