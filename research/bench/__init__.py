"""Benchmarks that a reader can re-run: each against a named baseline, in one run."""

from research.bench.factory import benchmark as benchmark
from research.bench.knowing import price_of_knowing as price_of_knowing
from research.bench.timing import Timing as Timing
from research.bench.timing import time_calls as time_calls
