"""A small search."""

from __future__ import annotations

import toy_benchmark  # noqa: F401 - registers the benchmark

from benchmark.executor_config import BenchmarkConfig
from benchmark.hyperparameter_optimization import (
    OptimizationConfig,
    OptimizedConfigs,
    optimize,
)
from benchmark.run.requests import PoolFactory

BENCHMARK = BenchmarkConfig("toy", ["first", "second"], {"contexts": 12})
TASKS = {"toy_first", "toy_second"}
TYPES = ("sink_local", "oracle_top_k")


def search(
    model: str,
    cache: str,
    types: tuple[str, ...] = TYPES,
    pool: PoolFactory | None = None,
    benchmark: BenchmarkConfig = BENCHMARK,
    **settings: object,
) -> OptimizedConfigs:
    return optimize(
        model,
        [benchmark],
        types,
        OptimizationConfig(
            **{
                "num_samples": 6,
                "cache_dir": cache,
                "use_per_task_config": True,
                "max_concurrent_trials": 4,  # each is a process that Ray starts
                "search_space": {"window_size": [2, 4, 8, 16], "sink_size": [1, 2, 4, 8]},
                **settings,
            }
        ),
        gpu_ids=[],
        num_workers=1,
        quiet=True,
        pool=pool,
    )
