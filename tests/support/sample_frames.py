"""The benchmarks of the project with the sample data that ships with it."""

from __future__ import annotations

import tempfile
from functools import cache
from typing import Any

from benchmark.suite.base import Benchmark
from benchmark.suite.registry import benchmark_names, get_benchmark

BENCHMARKS = [name for name in benchmark_names() if name != "toy"]


@cache
def options() -> dict[str, dict[str, Any]]:
    """By benchmark: options for small samples."""
    folder = tempfile.mkdtemp(prefix="ruler-samples-")
    return {"ruler": {"length": 600, "samples": 3, "cache_dir": folder}}


def sample_benchmark(name: str) -> Benchmark:
    return get_benchmark(name, source="samples", **options().get(name, {}))
