"""The benchmark matrix: models x configurations x benchmarks x subsets, on Ray workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benchmark.executor_config import AdapterConfig, RequestConfig
from benchmark.results.cells import check_results, open_results
from benchmark.run import given
from benchmark.run.devices import Devices, choose_devices
from benchmark.run.forecast import Forecast, forecast
from benchmark.run.given import BenchmarkLike, ConfigsLike
from benchmark.run.jobs import Choice, Chosen, Job
from benchmark.run.matrix import MatrixRun
from benchmark.run.models import find_models
from benchmark.run.plan import plan_jobs, plan_tasks
from benchmark.run.ray_session import hold_ray
from benchmark.run.requests import PoolFactory
from benchmark.run.result import MatrixResult
from benchmark.run.room import check_devices, find_devices
from benchmark.run.task import Task
from benchmark.run.workers import WorkerPool
from sparse_attention.errors import UserError, explain


@dataclass(frozen=True)
class PlannedMatrix:
    """What a matrix is without its configurations; nothing of it is written yet."""

    folder: Path
    """Of the results."""
    tasks: Sequence[Task]
    devices: Devices
    settings: AdapterConfig

    def jobs(self, choose: Choice) -> list[Job]:
        """The jobs with configurations; ``UserError`` for one that cannot run on a model."""
        return plan_jobs(self.tasks, choose, self.folder)


class BenchmarkExecutor:
    """Runs matrices and keeps their results in ``results_dir``.

    What is there already is not computed again: a finished matrix loads no model, an interrupted
    one goes on.  This process is the only one that writes results; workers send it what they found
    context by context.

    ``gpu_ids``, ``num_workers`` and ``gpus_per_worker``: see ``choose_devices``, and
    ``cluster_devices`` where ``RAY_ADDRESS`` names a cluster.  ``quiet`` shows no progress bar.
    ``pool`` makes the workers; None: processes on Ray.
    """

    def __init__(
        self,
        gpu_ids: Sequence[int] | None = None,
        results_dir: str | Path = "results",
        num_workers: int | None = None,
        *,
        gpus_per_worker: int | None = None,
        quiet: bool = False,
        pool: PoolFactory | None = None,
    ) -> None:
        self._devices = gpu_ids, num_workers, gpus_per_worker
        self._results_dir = results_dir
        self._quiet = quiet
        self._pool = pool or WorkerPool

    def run_benchmark_matrix(
        self,
        model_names: str | Sequence[str],
        sparse_attention_configs: ConfigsLike,
        benchmark_configs: BenchmarkLike | Sequence[BenchmarkLike],
        adapter_config: AdapterConfig | None = None,
        request_kwargs: Mapping[str, Any] | None = None,
    ) -> MatrixResult:
        """Answer all samples under all configurations, and derive the metrics.

        What is plain may be said plainly: ``run_benchmark_matrix("embedded", ["quest"], "ruler")``;
        see ``benchmark.run.given``.  ``request_kwargs`` are the fields of
        ``RequestConfig``.  Failures are recorded and do not stop the rest.  Raises ``UserError``
        for bad input, before anything is computed or written.
        """
        choose = _the_same_everywhere(sparse_attention_configs)
        return self.run_chosen(
            model_names, choose, benchmark_configs, adapter_config, request_kwargs
        )

    @hold_ray()
    def run_chosen(
        self,
        model_names: str | Sequence[str],
        choose: Choice,
        benchmark_configs: BenchmarkLike | Sequence[BenchmarkLike],
        adapter_config: AdapterConfig | None = None,
        request_kwargs: Mapping[str, Any] | None = None,
    ) -> MatrixResult:
        """``run_benchmark_matrix`` with configurations that may differ from subset to subset."""
        planned = self.plan(model_names, benchmark_configs, adapter_config, request_kwargs)
        return self.run_planned(planned, choose)

    @hold_ray()
    def plan(
        self,
        model_names: str | Sequence[str],
        benchmark_configs: BenchmarkLike | Sequence[BenchmarkLike],
        adapter_config: AdapterConfig | None = None,
        request_kwargs: Mapping[str, Any] | None = None,
    ) -> PlannedMatrix:
        """A matrix without its configurations; writes nothing, and raises ``UserError``."""
        settings = adapter_config or AdapterConfig()
        try:
            requests = RequestConfig(**(request_kwargs or {}))
        except ValidationError as error:
            raise UserError(f"request settings: {explain(error)}.") from error
        benchmarks = given.benchmark_configs(benchmark_configs)
        find = find_devices if self._pool is WorkerPool else choose_devices
        devices = find(*self._devices)
        models = find_models(
            given.model_names(model_names),
            revision=settings.revision,
            trust_remote_code=settings.trust_remote_code,
        )
        if not models or not benchmarks:
            raise UserError("name at least one model and one benchmark.")
        folder = check_results(self._results_dir)
        tasks = plan_tasks(models, benchmarks, settings, requests, devices.kind)
        devices = check_devices(devices, models, settings)
        return PlannedMatrix(folder, tasks, devices, settings)

    @hold_ray()
    def forecast(
        self,
        model_names: str | Sequence[str],
        sparse_attention_configs: ConfigsLike,
        benchmark_configs: BenchmarkLike | Sequence[BenchmarkLike],
        adapter_config: AdapterConfig | None = None,
        request_kwargs: Mapping[str, Any] | None = None,
    ) -> Forecast:
        """What ``run_benchmark_matrix`` would do and cost; nothing is written."""
        choose = _the_same_everywhere(sparse_attention_configs)
        planned = self.plan(model_names, benchmark_configs, adapter_config, request_kwargs)
        return forecast(planned.jobs(choose), planned.devices, planned.settings)

    def run_planned(self, planned: PlannedMatrix, choose: Choice) -> MatrixResult:
        """Answer all samples of a plan under the configurations that ``choose`` gives."""
        jobs = planned.jobs(choose)
        return MatrixRun(
            open_results(planned.folder),
            jobs,
            planned.devices,
            planned.settings,
            self._pool,
            self._quiet,
        ).execute()


def _the_same_everywhere(configs: ConfigsLike) -> Choice:
    chosen = {label: Chosen(config) for label, config in given.named_configs(configs).items()}
    return lambda *_: chosen
