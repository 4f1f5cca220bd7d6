"""One execution of a plan: requests to workers, and records of what they answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmark.executor_config import AdapterConfig
from benchmark.run.devices import Devices
from benchmark.run.finish import CellResult, ErrorLog, finish_job
from benchmark.run.jobs import Job
from benchmark.run.progress import JobProgress, MatrixProgress
from benchmark.run.requests import ContextResult, ModelFailure, PoolFactory, Request
from benchmark.run.result import MatrixResult
from benchmark.run.schedule import ContextQueue
from sparse_attention.errors import UserError

logger = logging.getLogger(__name__)


@dataclass
class _Work:
    """How far a job is."""

    job: Job
    outstanding: int
    """Samples whose result has not come yet."""
    queue: ContextQueue
    progress: JobProgress | None = None
    """None until its first context is asked."""
    cells: list[CellResult] = field(default_factory=list)
    """Empty until it is finished."""


class MatrixRun:
    """One execution of a plan."""

    def __init__(
        self,
        results: Path,
        jobs: Sequence[Job],
        devices: Devices,
        settings: AdapterConfig,
        pool: PoolFactory,
        quiet: bool,
    ) -> None:
        self._results = results
        self._jobs = jobs
        self._devices = devices
        self._settings = settings
        self._pool = pool
        self._progress = MatrixProgress(quiet)
        self._errors = ErrorLog(results)
        self._model_failures: dict[str, ModelFailure] = {}
        """By the model's name."""
        self._open: dict[str, _Work] = {}
        """What is not finished, by the task's id."""

    def execute(self) -> MatrixResult:
        """Answer what is missing, and write the metrics of each job when it is done."""
        with ExitStack() as stack:
            for cell in (cell for job in self._jobs for cell in job.cells):
                cell.files.lock()
                stack.callback(cell.files.unlock)
            for job in self._jobs:
                given = sum(cell.load(job.task.ids) for cell in job.cells)
                if given:
                    logger.info("%s: %d answers are those of the search", job.task.title, given)
            works = []
            for job in self._jobs:
                contexts = job.pending_contexts()
                works.append(_Work(job, sum(map(len, contexts)), ContextQueue(contexts)))
            stack.enter_context(self._progress)
            missing = [work for work in works if work.outstanding]
            if missing:
                self._compute(missing)
            for work in works:
                if not work.cells:
                    self._finish(work)
        return MatrixResult(self._results, tuple(cell for work in works for cell in work.cells))

    def _compute(self, works: Sequence[_Work]) -> None:
        devices = self._devices.at_most(sum(work.queue.parts for work in works))
        logger.info("starting %d %s worker(s)", devices.workers, devices.kind)
        self._open = {work.job.task.id: work for work in works}
        with self._pool(devices, self._settings) as pool:
            for request, result in pool.run(self._take):
                work = self._open[request.task]
                self._record(work, request, result)
                work.outstanding -= len(request.samples)
                if not work.outstanding:
                    del self._open[request.task]
                    self._finish(work)

    def _take(self, worker: int) -> Request | None:
        """The next request for a worker: jobs follow each other, because models do."""
        for work in self._open.values():
            task = work.job.task
            if task.model.name in self._model_failures:
                continue
            samples = work.queue.take(worker)
            if samples is not None:
                if work.progress is None:
                    work.progress = self._progress.start(task.title, work.outstanding)
                configs = {cell.label: cell.config for cell in work.job.asked_cells}
                return task.request(samples, configs)
        return None

    def _record(self, work: _Work, request: Request, result: ContextResult) -> None:
        task = work.job.task
        work.queue.done(request.samples)
        if result.model_failure is not None:
            self._give_up(task.model.name, result.model_failure)
            return
        self._errors.write(
            f"{task.title}, samples from {request.samples[0].id} on", result.tracebacks
        )
        for cell in work.job.asked_cells:
            cell.add(result.predictions[cell.label], result.costs[cell.label])
        if work.progress is not None:
            work.progress.advance(len(request.samples))

    def _give_up(self, model: str, failure: ModelFailure) -> None:
        """Ask the model nothing more; without another one, the user's mistake ends the run."""
        if model not in self._model_failures:
            self._model_failures[model] = failure
            logger.error("model %s cannot be loaded: %s", model, failure.message)
        if failure.by_user and len({job.task.model.name for job in self._jobs}) == 1:
            raise UserError(failure.message)

    def _finish(self, work: _Work) -> None:
        failure = self._model_failures.get(work.job.task.model.name)
        unanswered = failure.message if failure else "no sample was answered"
        work.cells = finish_job(work.job, unanswered, self._errors)
        if work.progress is not None:
            work.progress.finish()
