"""Which packages are installed: in a checkout the workrooms too, elsewhere the package alone."""

import sys

from setuptools import find_packages, setup

WORKROOMS = ["research*", "tools*"] if "editable_wheel" in sys.argv else []
setup(packages=find_packages(include=["epsvae*", *WORKROOMS]))
