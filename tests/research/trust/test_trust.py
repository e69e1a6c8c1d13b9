"""What a map is tried on, and what the tables on trust add up to."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from epsvae.subjects.ternary import METRIC_NAMES
from epsvae.subjects.ternary.library.index import write_index
from research.trust import coverage_table
from research.trust.damage import DAMAGES, FAINT
from research.trust.samples import FOREIGN, TEST, UNREAD, draw_samples
from research.trust.tables import offmap_table

SIZES = {"N_BROKEN": 10, "N_FAINT": 3, "N_RANDOM": 4}


@pytest.fixture(scope="module")
def samples(trained, tmp_path_factory):
    """A few of everything but foreign libraries, of which there are none beside the small one."""
    root = tmp_path_factory.mktemp("no-foreign")
    write_index(trained.test.index.iloc[:0], root)
    with pytest.MonkeyPatch.context() as patch:
        for name, size in SIZES.items():
            patch.setattr(f"research.trust.samples.{name}", size)
        return list(draw_samples(trained, [trained], root))


@pytest.fixture(scope="module")
def offmap(trained_map, trained_calibration, samples):
    """Scores of test runs, untrained networks, two kinds of damage and unread layers."""
    wanted = {TEST, "never trained", "zeroed", "noise", UNREAD}
    few = [sample for sample in samples if sample.kind in wanted]
    return offmap_table(trained_map, trained_calibration, few).assign(library="small")


class TestSamples:
    def test_every_kind_is_drawn(self, samples):
        kinds = [sample.kind for sample in samples]
        damages = [damage.kind for damage in DAMAGES]
        faint = [f"faint {damage.kind}" for damage in FAINT]
        unread = [UNREAD] * len(DAMAGES)
        expected = [TEST, "other library", "never trained", *damages, *faint, *unread]
        assert kinds == expected
        assert not set(kinds) & set(FOREIGN)

    def test_sizes_agree(self, samples):
        for sample in samples:
            sizes = {len(sample.vectors), len(sample.metrics), len(sample.runs), len(sample.layers)}
            assert len(sizes) == 1
        sizes = {sample.kind: len(sample.vectors) for sample in samples}
        assert sizes["shuffled"] == SIZES["N_BROKEN"]
        assert sizes["faint noise"] == SIZES["N_FAINT"]

    def test_metrics_are_measured_on_the_broken_network(self, samples, trained):
        """Zeroing a layer that is read ends all reconstruction; an unread one changes nothing."""
        zeroed = next(sample for sample in samples if sample.kind == "zeroed")
        of_decoder = ["decoder_A" in layer for layer in zeroed.layers]
        assert zeroed.metrics[of_decoder, 0].max() < 0.01
        unread = next(sample for sample in samples if sample.kind == UNREAD)
        known = {tuple(row) for row in trained.test.metrics[:]}
        assert {tuple(row) for row in unread.metrics} <= known


def told_apart(offmap: pd.DataFrame, kind: str, part: str) -> float:
    """Area under the ROC curve of a part of the score, for one kind against test runs."""
    few = offmap[offmap["kind"].isin([TEST, kind])]
    return float(roc_auc_score(few["kind"] == kind, few[part].clip(upper=1e6)))


class TestOffmapTable:
    def test_foreign_kinds_are_told_from_test_runs(self, offmap):
        worse = offmap.assign(score=offmap[["reading", "weights"]].max(axis=1))
        for kind in ("never trained", "zeroed", "noise"):
            assert told_apart(worse, kind, "score") > 0.9

    def test_reading_cannot_see_unread_layers(self, offmap):
        assert told_apart(offmap, UNREAD, "weights") > 0.9
        assert abs(told_apart(offmap, UNREAD, "reading") - 0.5) < 0.25

    def test_errors_belong_to_the_metrics(self, offmap):
        errors = offmap[[f"{name}_error" for name in METRIC_NAMES]].mean(axis=1)
        np.testing.assert_allclose(offmap["error"], errors)


class TestCoverage:
    def test_runs_count_the_same(self):
        """A run of eight good checkpoints and one of two bad ones: half."""
        inside = [True] * 8 + [False] * 2
        frame = pd.DataFrame(
            {
                "library": "one",
                "rule": "same width",
                "metric": "coverage",
                "run": ["long"] * 8 + ["short"] * 2,
                "predicted": 0.5,
                "true": [0.5 if hit else 0.9 for hit in inside],
                "low": 0.4,
                "high": 0.6,
            }
        )
        both = pd.concat([frame.assign(split=split) for split in ("left out", "test")])
        table = coverage_table(both).set_index("split")
        assert table.loc["test", "coverage"] == 0.5
        assert table.loc["test", ["low", "high"]].tolist() == [0, 1]
        assert table.loc["test", "width"] == pytest.approx(0.2)
