"""What is quoted agrees with itself: factors as published, parts no larger than the whole."""

from epsvae.subjects.ternary import METRIC_NAMES
from research.quoted import ORIGINAL_RECORD, seed_table
from research.rows.judge import COLUMNS


def test_factors_are_those_that_the_seed_prints():
    quoted = seed_table()
    factors = (quoted["metrics-only"] / quoted["hybrid"]).dropna().round(1)
    assert factors.tolist() == [4.1, 1.7, 1.7]


def test_rows_are_measures_of_the_validation_table():
    assert seed_table().index.tolist() == [*(f"{name}_mae" for name in METRIC_NAMES), "cosine"]
    assert "measure" in COLUMNS


def test_the_metrics_only_model_has_no_cosine():
    assert seed_table().isna().to_numpy().nonzero() == (3, 0)


def test_record_is_consistent():
    record = ORIGINAL_RECORD
    assert record.from_one_run < record.checkpoints == 825 + 77
    assert 0 <= record.beaten_by_neighbour <= len(METRIC_NAMES)
