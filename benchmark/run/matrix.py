"""One execution of a plan: requests to workers, and records of what they answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmark.executor_config import AdapterConfig
from benchmark.run.devices import Devices
from benchmark.run.finish import CellResult, ErrorLog, finish_job
from benchmark.run.jobs import Job
from benchmark.run.progress import JobProgress, MatrixProgress
from benchmark.run.requests import ContextResult, ModelFailure, PoolFactory, Request
from benchmark.run.result import MatrixResult
from benchmark.suite.base import Sample
from sparse_attention.errors import UserError

logger = logging.getLogger(__name__)


@dataclass
class _Work:
    """How far a job is."""

    job: Job
    pending: list[list[Sample]]
    """Contexts that are to be asked."""
    outstanding: int
    """Contexts whose result has not come yet."""
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

    def execute(self) -> MatrixResult:
        """Answer what is missing, and write the metrics of each job when it is done."""
        with ExitStack() as stack:
            for cell in (cell for job in self._jobs for cell in job.cells):
                cell.files.lock()
                stack.callback(cell.files.unlock)
            for job in self._jobs:
                for cell in job.cells:
                    cell.load(job.task.ids)
            works = []
            for job in self._jobs:
                contexts = job.pending_contexts()
                works.append(_Work(job, contexts, len(contexts)))
            stack.enter_context(self._progress)
            if any(work.pending for work in works):
                self._compute(works)
            for work in works:
                if not work.cells:
                    self._finish(work)
        return MatrixResult(self._results, tuple(cell for work in works for cell in work.cells))

    def _compute(self, works: Sequence[_Work]) -> None:
        contexts = sum(len(work.pending) for work in works)
        devices = replace(self._devices, visible=self._devices.visible[:contexts])
        logger.info("starting %d %s worker(s)", devices.workers, devices.kind)
        work_of = {work.job.task.id: work for work in works}
        with self._pool(devices, self._settings) as pool:
            requests = self._requests(works)
            for request, result in pool.run(lambda _: next(requests, None)):
                work = work_of[request.task]
                self._record(work, request, result)
                work.outstanding -= 1
                if not work.outstanding:
                    self._finish(work)

    def _requests(self, works: Sequence[_Work]) -> Iterator[Request]:
        for work in works:
            task = work.job.task
            configs = {cell.label: cell.config for cell in work.job.asked_cells}
            if work.pending:
                samples = sum(len(context) for context in work.pending)
                work.progress = self._progress.start(task.title, samples)
            for context in work.pending:
                if task.model.name in self._model_failures:
                    break
                yield task.request(context, configs)

    def _record(self, work: _Work, request: Request, result: ContextResult) -> None:
        task = work.job.task
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
