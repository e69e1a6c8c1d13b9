import numpy as np
import pandas as pd
import pytest

from research.studies.ablations import ABLATIONS
from research.studies.verdicts import REFERENCES, compare, crossing, power_law, tell


def losses(values: dict[str, list[float]], interval: tuple[float, float]) -> pd.DataFrame:
    lines = [
        ("probes", "aligned", setting, seed, "coverage_mae", value, *interval)
        for setting, by_seed in values.items()
        for seed, value in enumerate(by_seed)
    ]
    columns = ["study", "library", "setting", "seed", "measure", "value", "low", "high"]
    return pd.DataFrame(lines, columns=columns)


def test_references_are_settings_of_their_ablations() -> None:
    assert list(REFERENCES) == list(ABLATIONS)
    for study, setting in REFERENCES.items():
        assert setting in ABLATIONS[study]


def test_compare_tells_noise_from_seeds_and_from_a_clear_difference() -> None:
    values = {
        "32": [0.105, 0.115],
        "16": [0.14, 0.15],
        "8": [0.30, 0.72],
        "64": [0.10, 0.11],
        "128": [0.10, 0.11],
    }
    compared = compare(losses(values, (0.08, 0.20))).set_index("setting")

    assert compared["verdict"].to_dict() == {
        "8": "clear",
        "16": "seeds",
        "32": "noise",
        "64": "same",
        "128": "same",
    }
    assert compared.at["8", "factor"] == pytest.approx(0.51 / 0.105)
    assert list(compared.index) == ["8", "16", "32", "64", "128"]


def test_a_single_seed_is_judged_by_the_spread_of_the_default() -> None:
    default = losses({"128": [0.10, 0.11]}, (0.08, 0.20))
    start = losses({"closed form": [0.10], "random, trained": [0.105]}, (0.08, 0.20))
    compared = compare(pd.concat([default, start.assign(study="start")]))

    assert compared.set_index("setting").at["random, trained", "verdict"] == "noise"


def test_tell_names_factor_and_verdict() -> None:
    one = losses({"8": [0.5], "128": [0.1]}, (0.08, 0.2))
    compared = compare(one).assign(error="coverage")
    said = "in the aligned library, coverage"

    assert tell(compared, "probes", "8") == f"{said} (× 5.00) is clearly worse"
    assert tell(compared, "probes", "128") == f"{said} is unchanged"

    other = losses({"8": [0.3], "128": [0.1]}, (0.08, 0.2)).assign(measure="radial_hierarchy_mae")
    compared = compare(pd.concat([one, other])).assign(error="one of two")
    assert tell(compared, "probes", "8") == (
        "in the aligned library, all 2 errors are clearly worse (× 3.00 to × 5.00)"
    )


def test_power_law_finds_a_slope_and_its_spread() -> None:
    sizes = np.array([6.0, 12, 24, 48])
    exact = 3 * sizes[:, None] ** -0.7 * np.ones(3)
    law = power_law(sizes, exact)
    assert law == pytest.approx((3, -0.7, -0.7, -0.7))

    noisy = power_law(sizes, exact * np.array([0.9, 1, 1.1]))
    assert noisy.low < -0.7 < noisy.high


def test_power_law_refuses_a_single_size() -> None:
    with pytest.raises(ValueError, match="at least two, found 1"):
        power_law(np.array([6.0]), np.ones((1, 3)))


def test_crossing_reads_between_sizes() -> None:
    sizes = np.array([1.0, 4, 16])

    assert crossing(sizes, np.array([1.0, 0.25, 0.0625]), 0.5) == pytest.approx(2)
    assert crossing(sizes, np.array([0.1, 0.3, 0.1]), 0.2) > 4
    assert crossing(sizes, np.array([0.1, 0.1, 0.1]), 0.2) == 0
    assert crossing(sizes, np.array([0.1, 0.1, 0.3]), 0.2) == np.inf
