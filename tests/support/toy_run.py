"""``sparse-bench`` with the small benchmark, in a process that is to be ended."""

from __future__ import annotations

import os
import sys

import toy_benchmark  # noqa: F401 - registers the benchmark
from local_pool import LocalPool

from benchmark.console.main import main
from benchmark.executor_config import BenchmarkConfig
from sparse_attention.config_types import make_config

CONFIGS = [
    ("dense", None),
    ("edges", make_config("sink_local", sink_size=2, window_size=4)),
    ("sampling", make_config("random_sampling", sampling_rate=0.2)),
]
BENCHMARK = BenchmarkConfig("toy", ["first", "second"], {"contexts": 10})

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], None if os.environ.get("TOY_ON_RAY") else LocalPool))
