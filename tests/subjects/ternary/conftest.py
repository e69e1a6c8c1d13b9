"""The released map of the aligned library, and its calibration."""

import pytest

from epsvae.subjects.ternary.map.calibration import FILE, load_calibration


@pytest.fixture(scope="module")
def model(release):
    return release.map("aligned")


@pytest.fixture(scope="module")
def calibration(release):
    return load_calibration(release.folder / "aligned" / FILE)
