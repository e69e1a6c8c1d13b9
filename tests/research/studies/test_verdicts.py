import pandas as pd
import pytest

from research.studies.ablations import ABLATIONS
from research.studies.verdicts import REFERENCES, compare


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
