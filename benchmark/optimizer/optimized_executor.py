"""Both phases in one call: search the best settings, then run the benchmark matrix with them."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import AdapterConfig, BenchmarkConfig
from benchmark.files import fingerprint
from benchmark.generic_config_optimizer import is_tunable
from benchmark.hyperparameter_optimization import (
    OptimizationConfig,
    OptimizedSparseConfig,
    search_spaces,
    search_tasks,
)
from benchmark.results.cells import open_results
from benchmark.run.finish import CellResult
from benchmark.run.given import check_label
from benchmark.run.jobs import Chosen
from benchmark.run.ray_address import find_cluster
from benchmark.run.ray_session import hold_ray
from benchmark.run.requests import PoolFactory
from benchmark.run.result import MatrixResult
from benchmark.run.task import Task
from benchmark.run.workers import WorkerPool
from benchmark.tuning.cache import CachedResult
from benchmark.tuning.evaluations import kept_answers
from benchmark.tuning.overrides import check_overrides
from benchmark.tuning.records import config_hash
from sparse_attention.config import AttentionConfig
from sparse_attention.config_types import make_config
from sparse_attention.errors import UserError
from sparse_attention.reading import user_folder

__all__ = [
    "AdapterConfig",
    "BenchmarkConfig",
    "OptimizedBenchmarkExecutor",
    "create_optimized_benchmark_executor",
]

logger = logging.getLogger(__name__)


class OptimizedBenchmarkExecutor:
    """A ``BenchmarkExecutor`` whose configurations of None are searched first."""

    def __init__(
        self,
        optimization_config: OptimizationConfig,
        gpu_ids: Sequence[int] | None = None,
        results_dir: str | Path = "results",
        num_workers: int | None = None,
        *,
        gpus_per_worker: int | None = None,
        quiet: bool = False,
        pool: PoolFactory | None = None,
    ) -> None:
        """Search as ``optimization_config`` says; the rest is as of ``BenchmarkExecutor``."""
        self._executor = BenchmarkExecutor(
            *(gpu_ids, results_dir, num_workers),
            gpus_per_worker=gpus_per_worker,
            quiet=quiet,
            pool=pool,
        )
        self._settings, self._quiet, self._pool = optimization_config, quiet, pool or WorkerPool

    @hold_ray()
    def run_benchmark_matrix(
        self,
        model_names: Sequence[str],
        sparse_attention_configs: Sequence[tuple[str, AttentionConfig | None]],
        benchmark_configs: Sequence[BenchmarkConfig],
        adapter_config: AdapterConfig | None = None,
        request_kwargs: Mapping[str, Any] | None = None,
    ) -> MatrixResult:
        """Search, then run the matrix.

        ``(config type, None)`` is searched (per task or once for all, as the optimization config
        says) unless the type has nothing to search or the search is switched off: then it has its
        default settings.  ``(label, configuration)`` is used as it is.  A type for which no
        settings were found, or none that keeps the objective's constraint, is a failed cell, and
        the others go on.

        Raises:
            UserError: for bad input, before anything is computed.
        """
        fixed, searched = self._sort(sparse_attention_configs)
        check_overrides(self._settings.search_space, searched)
        planned = self._executor.plan(
            model_names, benchmark_configs, adapter_config, request_kwargs
        )
        # All that can be known is checked before the first search, and before anything is written.
        planned.jobs(lambda *_: {label: Chosen(config) for label, config in fixed.items()})
        tasks: dict[str, list[Task]] = {}
        for task in planned.tasks:
            tasks.setdefault(task.model.name, []).append(task)
        tuned: dict[str, dict[str, OptimizedSparseConfig]] = {}
        if searched:
            find_cluster()
            user_folder(self._settings.cache_dir, "cache folder")
            spaces = {
                model: search_spaces(own[0].model, searched, self._settings, planned.settings)
                for model, own in tasks.items()
            }
            # Before the search, because its cache may lie inside.
            open_results(planned.folder)
            for model, own in tasks.items():
                tuned[model] = search_tasks(
                    model,
                    own,
                    spaces[model],
                    self._settings,
                    lambda: self._pool(planned.devices, planned.settings),
                    quiet=self._quiet,
                )

        def choose(task: Task) -> dict[str, Chosen]:
            benchmark, subset = task.benchmark.name, task.subset
            chosen: dict[str, Chosen] = {}
            for label, _ in sparse_attention_configs:
                if label in fixed:
                    chosen[label] = Chosen(fixed[label])
                    continue
                result = tuned[task.model.name][label].result_for(benchmark, subset)
                if result is not None and result.feasible:
                    chosen[label] = self._chosen(result, f"{benchmark}_{subset}")
            return self._with_answers(task, chosen) if searched else chosen

        result = self._executor.run_planned(planned, choose)
        return replace(result, cells=(*result.cells, *self._failures(tuned, result)))

    def _sort(
        self, configs: Sequence[tuple[str, AttentionConfig | None]]
    ) -> tuple[dict[str, AttentionConfig], list[str]]:
        """Configurations that are given, by label, and types that are to be searched."""
        fixed: dict[str, AttentionConfig] = {}
        searched: list[str] = []
        for label, config in configs:
            check_label(label)
            if label in fixed or label in searched:
                raise UserError(f"configuration {label!r} is given twice; labels must differ.")
            if config is not None:
                fixed[label] = config
            elif self._settings.enabled and is_tunable(label):
                searched.append(label)
            else:
                fixed[label] = make_config(label)
        return fixed, searched

    def _chosen(self, result: CachedResult, task: str) -> Chosen:
        per_task = self._settings.use_per_task_config
        # What a per-task search depends on besides its task is the same for all of them.
        search = {name: value for name, value in result.key.items() if name != "tasks"}
        tuning = {
            "mode": "per task" if per_task else "global",
            "search": fingerprint(search)[:8],
            "description": f"tuned {'for each task' if per_task else 'once for all tasks'} "
            f"({self._settings.optimization_metric})",
        }
        ids = result.key["tasks"][task]["tuning_ids"]
        return Chosen(result.config, frozenset(ids), tuning)

    def _with_answers(self, task: Task, chosen: Mapping[str, Chosen]) -> dict[str, Chosen]:
        """With what searches have asked already, under the same key but for the configuration."""
        known = kept_answers(task, self._settings.cache_dir)
        if known is None:
            return dict(chosen)
        return {
            label: replace(one, answers=known.with_costs(config_hash(one.config)))
            for label, one in chosen.items()
        }

    def _failures(
        self, tuned: Mapping[str, Mapping[str, OptimizedSparseConfig]], result: MatrixResult
    ) -> list[CellResult]:
        """Cells that were to be tuned and have no settings that may be used."""
        return [
            CellResult(model, "-", task, label, result.results_dir, "failed", message, None)
            for model, types in tuned.items()
            for label, found in types.items()
            for task, message in (*found.failures.items(), *found.infeasible.items())
        ]


def create_optimized_benchmark_executor(
    gpu_ids: Sequence[int] | None = None,
    optimization_config: OptimizationConfig | None = None,
    enable_optimization: bool = True,
    results_dir: str | Path = "results",
    num_workers: int | None = None,
    *,
    gpus_per_worker: int | None = None,
    quiet: bool = False,
    pool: PoolFactory | None = None,
) -> OptimizedBenchmarkExecutor:
    """An executor for both phases.

    Args:
        gpu_ids: devices, as for ``BenchmarkExecutor``.
        optimization_config: how to search; None for the defaults.
        enable_optimization: False: no search, default settings.
        results_dir: folder of the matrix's results.
        num_workers: worker processes, as for ``BenchmarkExecutor``.
        gpus_per_worker: as for ``BenchmarkExecutor``.
        quiet: no progress bars.
        pool: makes the workers of both phases, as for ``BenchmarkExecutor``.
    """
    settings = optimization_config or OptimizationConfig()
    if not enable_optimization:
        settings = settings.model_copy(update={"enabled": False})
    return OptimizedBenchmarkExecutor(
        *(settings, gpu_ids, results_dir, num_workers),
        gpus_per_worker=gpus_per_worker,
        quiet=quiet,
        pool=pool,
    )
