"""Find the best settings of config types, remember them, and ask for them later."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.executor_config import AdapterConfig, BenchmarkConfig, RequestConfig
from benchmark.generic_config_optimizer import GenericConfigOptimizer
from benchmark.run.given import BenchmarkLike, benchmark_configs
from benchmark.run.models import ModelSource, find_model
from benchmark.run.plan import plan_tasks
from benchmark.run.ray_session import hold_ray, start_ray
from benchmark.run.requests import Pool, PoolFactory
from benchmark.run.room import check_devices, find_devices
from benchmark.run.task import Task
from benchmark.run.workers import WorkerPool
from benchmark.tuning.cache import BestConfigCache
from benchmark.tuning.evaluations import TuningTask, evaluations_folder
from benchmark.tuning.found import OptimizedConfigs, OptimizedSparseConfig
from benchmark.tuning.outcome import held_out_wants
from benchmark.tuning.overrides import check_overrides
from benchmark.tuning.plan import SearchPlan
from benchmark.tuning.progress import TuningProgress
from benchmark.tuning.search_file import Names
from benchmark.tuning.settings import DEFAULT_CACHE, OptimizationConfig
from benchmark.tuning.splits import split_samples
from sparse_attention.config import AttentionConfig
from sparse_attention.errors import UserError, explain
from sparse_attention.hf.facts import model_profile

__all__ = [
    "AdapterConfig",
    "BenchmarkConfig",
    "OptimizationConfig",
    "OptimizedConfigs",
    "OptimizedSparseConfig",
    "get_cached_optimization_config",
    "optimize",
    "optimize_sparse_configs",
]

logger = logging.getLogger(__name__)


async def optimize_sparse_configs(
    model_name: str,
    benchmarks: BenchmarkLike | Sequence[BenchmarkLike],
    config_types: str | Sequence[str],
    optimization_config: OptimizationConfig,
    **options: Any,
) -> OptimizedConfigs:
    """``optimize`` without blocking the event loop; ``options`` are its further arguments."""
    return await asyncio.to_thread(
        optimize, model_name, benchmarks, config_types, optimization_config, **options
    )


@hold_ray()
def optimize(
    model_name: str,
    benchmarks: BenchmarkLike | Sequence[BenchmarkLike],
    config_types: str | Sequence[str],
    optimization_config: OptimizationConfig,
    *,
    adapter_config: AdapterConfig | None = None,
    request_kwargs: Mapping[str, Any] | None = None,
    gpu_ids: Sequence[int] | None = None,
    num_workers: int | None = None,
    gpus_per_worker: int | None = None,
    quiet: bool = False,
    pool: PoolFactory | None = None,
) -> OptimizedConfigs:
    """The best settings of each config type on the benchmarks, searched unless they are known.

    All searches of a call run together and share evaluations, workers and prefills.  What was
    evaluated is kept, so that a search that was interrupted goes on.

    Args:
        model_name: as ``find_model`` takes it.
        benchmarks: each of their subsets is a task; ``benchmark.run.given`` says what forms.
        config_types: what to search; ``sparse_attention`` searches the type too.
        optimization_config: what is minimised, how many settings are tried, what is kept where.
        adapter_config: how the model is loaded, prompted and run; it must measure the error.
        request_kwargs: fields of ``RequestConfig``: which samples there are to split.
        gpu_ids: devices, as for ``BenchmarkExecutor``.
        num_workers: processes that each hold a model, as for ``BenchmarkExecutor``.
        gpus_per_worker: as for ``BenchmarkExecutor``.
        quiet: no progress bars.
        pool: makes the workers, as for ``BenchmarkExecutor``.

    Raises:
        UserError: for bad input, before anything is computed.
    """
    settings = adapter_config or AdapterConfig()
    try:
        requests = RequestConfig(**(request_kwargs or {}))
    except ValidationError as error:
        raise UserError(f"request settings: {explain(error)}.") from error
    wanted = benchmark_configs(benchmarks)
    types = [config_types] if isinstance(config_types, str) else config_types
    devices = find_devices(gpu_ids, num_workers, gpus_per_worker)
    model = find_model(
        model_name, revision=settings.revision, trust_remote_code=settings.trust_remote_code
    )
    spaces = search_spaces(model, types, optimization_config, settings)
    tasks = plan_tasks([model], wanted, settings, requests, devices.kind)
    devices = check_devices(devices, [model], settings)
    return search_tasks(
        model_name,
        tasks,
        spaces,
        optimization_config,
        lambda: (pool or WorkerPool)(devices, settings),
        quiet=quiet,
    )


def search_spaces(
    model: ModelSource,
    config_types: Sequence[str],
    optimization_config: OptimizationConfig,
    settings: AdapterConfig,
) -> dict[str, GenericConfigOptimizer]:
    """Where settings of each config type are searched on a model.

    Raises:
        UserError: if there is nothing to search, or nothing that can run on the model.
    """
    objective = optimization_config.objective
    if objective.needs_error and not settings.measure_error:
        raise UserError(
            f"{objective.name} needs the attention error, which is not to be measured: leave it "
            "on, or choose another objective, such as density_at_score."
        )
    profile = model_profile(model.name, model.config)
    spaces = {
        name: GenericConfigOptimizer(name, optimization_config.search_space, profile)
        for name in dict.fromkeys(config_types)
    }
    check_overrides(optimization_config.search_space, list(spaces))
    for name, space in spaces.items():
        if not space.search_space:
            raise UserError(f"config type {name!r} has nothing to search; run it as it is.")
    return spaces


def search_tasks(
    model_name: str,
    planned: Sequence[Task],
    spaces: Mapping[str, GenericConfigOptimizer],
    optimization_config: OptimizationConfig,
    start_pool: Callable[[], AbstractContextManager[Pool]],
    *,
    quiet: bool,
) -> OptimizedConfigs:
    """``optimize`` on tasks of one model that were planned, in ``search_spaces``."""
    cache = BestConfigCache(optimization_config.cache_dir)
    with ExitStack() as stack:
        tasks = []
        for each in planned:
            split = split_samples(
                each.samples,
                optimization_config.held_out,
                optimization_config.max_tuning_samples,
                optimization_config.seed,
            )
            task = TuningTask(each, split, evaluations_folder(cache.folder))
            stack.callback(task.close)
            tasks.append(task)
        plan = SearchPlan(model_name, spaces, tasks, optimization_config, cache)
        plan.look_up()
        if plan.open:
            _search(plan, start_pool, quiet)
    return OptimizedConfigs(
        {
            name: OptimizedSparseConfig(name, found, plan.failed[name])
            for name, found in plan.found.items()
        }
    )


def get_cached_optimization_config(
    model_name: str,
    config_type: str,
    benchmark_name: str | None = None,
    subset: str | None = None,
    cache_dir: str | Path = DEFAULT_CACHE,
    *,
    force: bool = False,
) -> AttentionConfig | None:
    """The best configuration that was found last; None if there is none.

    For a task its own, else that of a search over several tasks which covered it; without
    ``benchmark_name`` and ``subset`` the one of a search over all tasks.  One that violates the
    constraint of its search is given with ``force`` only.
    """
    names = Names(
        model=model_name, config_type=config_type, benchmark=benchmark_name, subset=subset
    )
    found = BestConfigCache(cache_dir).covering(names)
    if not found:
        return None
    if not found[0].feasible and not force:
        logger.warning("%s is not given without force: %s", config_type, found[0].remarks[0])
        return None
    return found[0].config


def _search(
    plan: SearchPlan, start_pool: Callable[[], AbstractContextManager[Pool]], quiet: bool
) -> None:
    from benchmark.tuning.search import Search

    with ExitStack() as stack:
        studies = plan.start()
        for _, study in studies:
            stack.callback(study.close)
        # Trials run on Ray whatever pool answers them.
        stack.enter_context(hold_ray())
        start_ray()
        pool = stack.enter_context(start_pool())
        progress = TuningProgress([study for _, study in studies], quiet)
        search = Search([study for _, study in studies], plan.settings, pool, progress)
        logger.info("searching: %s", ", ".join(study.name for _, study in studies))
        with progress:
            search.run()
        logger.info("judging what was found on the samples that were held out")
        winners = {study.name: study.winner() for _, study in studies}
        search.evaluate(
            [
                want
                for _, study in studies
                if (winner := winners[study.name]) is not None
                for want in held_out_wants(study, winner)
            ]
        )
        for wanted, study in studies:
            plan.finish(wanted, study)
