"""Benchmarks that a reader can re-run: each against a named baseline, in one run."""

from epsvae.bench.factory import benchmark as benchmark
from epsvae.bench.knowing import price_of_knowing as price_of_knowing
from epsvae.bench.timing import Timing as Timing
from epsvae.bench.timing import time_calls as time_calls
