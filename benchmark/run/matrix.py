"""One execution of a plan: requests to workers, records of what they answer, metrics at the end."""

from __future__ import annotations

import logging
import traceback
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmark.executor_config import AdapterConfig
from benchmark.results.cells import find_results
from benchmark.results.metrics import metrics_document, score_predictions
from benchmark.results.records import Cost, Prediction
from benchmark.run.devices import Devices
from benchmark.run.evaluator import ContextResult, describe_error
from benchmark.run.jobs import DENSE, Cell, Job
from benchmark.run.plan import config_key
from benchmark.run.progress import MatrixProgress
from benchmark.run.workers import ModelFailure, Outcome, Request, WorkerPool
from sparse_attention.errors import UserError

logger = logging.getLogger(__name__)

ERROR_LOG = "errors.log"
"""File in the results folder with the tracebacks of failed samples."""


@dataclass(frozen=True)
class CellResult:
    """How one cell of a matrix ended, and what it measured."""

    model: str
    benchmark: str
    subset: str
    config: str
    folder: Path
    status: str
    """``complete``; ``incomplete``: some samples have no answer; ``failed``: there is no score."""
    message: str
    """Why it is not complete."""
    metrics: dict[str, Any] | None
    """Content of ``metrics.json``."""


@dataclass(frozen=True)
class MatrixResult:
    """All cells of a matrix, finished or failed."""

    results_dir: Path
    cells: tuple[CellResult, ...]

    @property
    def exit_code(self) -> int:
        """0 if every cell is complete, else 1."""
        return int(any(cell.status != "complete" for cell in self.cells))


class MatrixRun:
    """One execution of a plan."""

    def __init__(
        self,
        results: Path,
        jobs: Sequence[Job],
        devices: Devices,
        settings: AdapterConfig,
        quiet: bool,
    ) -> None:
        self._results = results
        self._jobs = jobs
        self._devices = devices
        self._settings = settings
        self._progress = MatrixProgress(quiet)
        self._outstanding: Counter[int] = Counter()
        self._job_of: dict[int, tuple[Request, Job]] = {}
        self._model_failures: dict[str, ModelFailure] = {}
        self._finished: dict[int, list[CellResult]] = {}

    def execute(self) -> MatrixResult:
        """Answer what is missing, and write the metrics of each job when it is done."""
        with ExitStack() as stack:
            for cell in (cell for job in self._jobs for cell in job.cells):
                cell.files.lock()
                stack.callback(cell.files.unlock)
            for job in self._jobs:
                for cell in job.cells:
                    cell.load(job.ids)
            pending = [(job, job.pending_contexts()) for job in self._jobs]
            for job, contexts in pending:
                self._outstanding[id(job)] = len(contexts)
            stack.enter_context(self._progress)
            if any(contexts for _, contexts in pending):
                self._compute(pending)
            for job in self._jobs:
                if id(job) not in self._finished:
                    self._finish(job)
        cells = [cell for job in self._jobs for cell in self._finished[id(job)]]
        return MatrixResult(self._results, tuple(cells))

    def _compute(self, pending: Sequence[tuple[Job, list]]) -> None:
        contexts = sum(len(contexts) for _, contexts in pending)
        devices = replace(self._devices, visible=self._devices.visible[:contexts])
        logger.info("starting %d %s worker(s)", devices.workers, devices.kind)
        with WorkerPool(devices, self._settings) as pool:
            requests = self._requests(pending)
            for request, outcome in pool.run(lambda _: next(requests, None)):
                _, job = self._job_of.pop(id(request))
                self._record(job, request, outcome)
                self._outstanding[id(job)] -= 1
                if not self._outstanding[id(job)]:
                    self._finish(job)

    def _requests(self, pending: Sequence[tuple[Job, list]]) -> Iterator[Request]:
        for job, contexts in pending:
            configs = {cell.label: cell.config for cell in job.open_cells}
            if contexts:
                samples = sum(len(context) for context in contexts)
                self._progress.start(id(job), _job_name(job), samples)
            for context in contexts:
                if job.model.name in self._model_failures:
                    break
                request = Request(
                    job.model.location,
                    job.model.revision,
                    tuple(context),
                    configs,
                    job.prompt,
                    f"{job.benchmark.name}/{job.subset}",
                )
                # Holds the request too: an id is only unique while its object lives.
                self._job_of[id(request)] = request, job
                yield request

    def _record(self, job: Job, request: Request, outcome: Outcome) -> None:
        if isinstance(outcome, ModelFailure):
            if job.model.name not in self._model_failures:
                self._model_failures[job.model.name] = outcome
                logger.error("model %s cannot be loaded: %s", job.model.name, outcome.message)
            if outcome.by_user and len({job.model.name for job in self._jobs}) == 1:
                raise UserError(outcome.message)
            return
        if isinstance(outcome, ContextResult):
            result = outcome
            title = f"{_job_name(job)}, samples from {request.samples[0].id} on"
            self._log_errors(title, result.tracebacks)
        else:
            result = ContextResult(dict.fromkeys(request.configs, outcome.predictions(request)))
        for cell in job.open_cells:
            costs: list[Cost] = result.costs.get(cell.label, [])
            cell.add(result.predictions[cell.label], costs)
        self._progress.advance(id(job), len(request.samples))

    def _log_errors(self, title: str, tracebacks: Sequence[str]) -> None:
        if tracebacks:
            with (self._results / ERROR_LOG).open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(f"{title}\n{trace}\n" for trace in tracebacks)

    def _finish(self, job: Job) -> None:
        """Order the files of a job's cells and derive their metrics."""
        dense = self._dense_predictions(job)
        self._finished[id(job)] = [self._finish_cell(job, cell, dense) for cell in job.cells]
        self._progress.finish(id(job))

    def _dense_predictions(self, job: Job) -> dict[str, Prediction] | None:
        """Scored answers of dense attention: from this matrix, else from an earlier one."""
        for cell in job.cells:
            if cell.config == DENSE:
                predictions = cell.predictions
                break
        else:
            files = find_results(job.cells[0].files.subset_folder, config_key(job.key, DENSE))
            if not files:
                return None
            predictions, _ = files[0].read(job.ids)
        try:
            return score_predictions(job.benchmark, job.samples, predictions)[0]
        except Exception:
            # Said for the dense cell itself; the others have no difference to it.
            return None

    def _finish_cell(
        self, job: Job, cell: Cell, dense: Mapping[str, Prediction] | None
    ) -> CellResult:
        names = {
            "model": job.model.name,
            "benchmark": job.benchmark.name,
            "subset": job.subset,
            "config": cell.label,
        }

        def result(status: str, message: str, metrics: dict[str, Any] | None) -> CellResult:
            return CellResult(
                **names, folder=cell.files.folder, status=status, message=message, metrics=metrics
            )

        if not cell.predictions:
            failure = self._model_failures.get(job.model.name)
            message = failure.message if failure else "no sample was answered"
            return result("failed", message, None)
        try:
            scored, official = score_predictions(job.benchmark, job.samples, cell.predictions)
            metrics = metrics_document(
                {
                    **names,
                    "description": cell.config.describe(),
                    "protocol": cell.files.key["protocol"],
                    "tuning": cell.chosen.tuning,
                    "sample_data": job.benchmark.sample_data,
                    "remarks": list(job.benchmark.remarks(job.subset)),
                },
                job.samples,
                scored,
                cell.costs,
                official,
                None if cell.config == DENSE else dense,
                cell.chosen.tuned_on,
            )
        except Exception as error:
            message = f"scoring failed: {describe_error(error)}"
            logger.error("%s, %s: %s", _job_name(job), cell.label, message)
            trace = "".join(traceback.format_exception(error))
            self._log_errors(f"{_job_name(job)}, {cell.label}", [trace])
            return result("failed", message, None)
        cell.files.rewrite(job.ids, scored, cell.costs)
        cell.files.write_metrics(metrics)
        scorable = metrics["counts"]["without_reference"] < len(job.samples)
        status = "failed" if scorable and not metrics["score"] else metrics["status"]
        message = _explain_status(metrics)
        if message:
            logger.warning("%s, %s: %s", _job_name(job), cell.label, message)
        return result(status, message, metrics)


def _job_name(job: Job) -> str:
    return f"{job.model.name} {job.benchmark.name}/{job.subset}"


def _explain_status(metrics: Mapping[str, Any]) -> str:
    counts = metrics["counts"]
    parts = [f"{number} failed ({reason})" for reason, number in metrics["failures"].items()]
    if counts["missing"]:
        parts.append(f"{counts['missing']} not computed")
    if counts["skipped"]:
        parts.append(f"{counts['skipped']} skipped")
    return f"of {counts['samples']} samples {', '.join(parts)}" if parts else ""
