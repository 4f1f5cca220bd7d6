"""A small matrix run in a process of its own, to be killed: MODEL RESULTS_DIR."""

from __future__ import annotations

import sys

import toy_benchmark  # noqa: F401 - registers the benchmark
from local_pool import LocalPool

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from sparse_attention.config_types import make_config

CONFIGS = [
    ("dense", None),
    ("edges", make_config("sink_local", sink_size=2, window_size=4)),
    ("sampling", make_config("random_sampling", sampling_rate=0.2)),
]
BENCHMARK = BenchmarkConfig("toy", ["first", "second"], {"contexts": 10})

if __name__ == "__main__":
    result = BenchmarkExecutor([], sys.argv[2], quiet=True, pool=LocalPool).run_benchmark_matrix(
        [sys.argv[1]], CONFIGS, [BENCHMARK]
    )
    sys.exit(result.exit_code)
