"""A matrix of two configurations on the toy benchmark, in this process."""

from __future__ import annotations

from pathlib import Path

import toy_benchmark  # noqa: F401 - registers the benchmark
from local_pool import LocalPool

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from benchmark.run.matrix import MatrixResult
from sparse_attention.config_types import make_config


def run_toy(model: Path, results: Path) -> MatrixResult:
    executor = BenchmarkExecutor([], results, quiet=True, pool=LocalPool)
    configs = [("dense", None), ("edges", make_config("sink_local", sink_size=2, window_size=4))]
    return executor.run_benchmark_matrix([str(model)], configs, [BenchmarkConfig("toy", ["first"])])
