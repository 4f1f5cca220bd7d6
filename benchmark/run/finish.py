"""What comes of a job: its files in order, its metrics, and why a cell has none."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.results.cells import find_results
from benchmark.results.metrics import metrics_document, score_predictions
from benchmark.results.records import Prediction
from benchmark.run.failures import describe_error
from benchmark.run.jobs import DENSE, Cell, Job
from sparse_attention.config import AttentionConfig
from sparse_attention.hf.layers import key_layers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class CellResult:
    """What came of one cell."""

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
    attention: AttentionConfig | None = None
    """What was run; None if a search found nothing to run."""


class ErrorLog:
    """The tracebacks of what failed, in a file of the results folder."""

    def __init__(self, results: Path) -> None:
        self._path = results / "errors.log"

    def write(self, title: str, tracebacks: Sequence[str]) -> None:
        """Append tracebacks; without any, there need not be a file."""
        if tracebacks:
            with self._path.open("a", encoding="utf-8", errors="replace") as file:
                file.writelines(f"{title}\n{trace}\n" for trace in tracebacks)


def finish_job(job: Job, unanswered: str, errors: ErrorLog) -> list[CellResult]:
    """Order the files of a job's cells and derive their metrics.

    ``unanswered`` says why, of a cell without any prediction.
    """
    dense = _dense_predictions(job)
    return [_finish_cell(job, cell, dense, unanswered, errors) for cell in job.cells]


def _dense_predictions(job: Job) -> dict[str, Prediction] | None:
    """Scored answers of dense attention: from this matrix, else from an earlier one."""
    task = job.task
    for cell in job.cells:
        if cell.config == DENSE:
            predictions = cell.predictions
            break
    else:
        files = find_results(job.cells[0].files.subset_folder, task.key_of(DENSE))
        if not files:
            return None
        predictions, _ = files[0].read(task.ids)
    try:
        return score_predictions(task.benchmark, task.samples, predictions)[0]
    except Exception:
        # Said for the dense cell itself; the others have no difference to it.
        return None


def _finish_cell(
    job: Job,
    cell: Cell,
    dense: Mapping[str, Prediction] | None,
    unanswered: str,
    errors: ErrorLog,
) -> CellResult:
    task = job.task
    names = {
        "model": task.model.name,
        "benchmark": task.benchmark.name,
        "subset": task.subset,
        "config": cell.label,
    }

    def result(status: str, message: str, metrics: dict[str, Any] | None) -> CellResult:
        return CellResult(
            **names,
            folder=cell.files.folder,
            status=status,
            message=message,
            metrics=metrics,
            attention=cell.config,
        )

    if not cell.predictions:
        return result("failed", unanswered, None)
    try:
        scored, official = score_predictions(task.benchmark, task.samples, cell.predictions)
        metrics = metrics_document(
            {
                **names,
                "qualifier": task.benchmark.qualifier,
                "description": cell.config.describe(),
                "protocol": cell.files.key["protocol"],
                "attention_layers": len(key_layers(task.model.config)),
                "layers": int(task.model.config.get_text_config().num_hidden_layers),
                "tuning": cell.chosen.tuning,
                "sample_data": task.benchmark.sample_data,
                "remarks": [
                    *task.benchmark.remarks(task.subset),
                    *_thinking(f"{task.title}, {cell.label}", scored.values()),
                ],
            },
            task.samples,
            scored,
            cell.costs,
            official,
            None if cell.config == DENSE else dense,
            cell.chosen.tuned_on,
        )
    except Exception as error:
        message = f"scoring failed: {describe_error(error)}"
        logger.error("%s, %s: %s", task.title, cell.label, message)
        trace = "".join(traceback.format_exception(error))
        errors.write(f"{task.title}, {cell.label}", [trace])
        return result("failed", message, None)
    cell.files.rewrite(task.ids, scored, cell.costs)
    cell.files.write_metrics(metrics)
    scorable = metrics["counts"]["without_reference"] < len(task.samples)
    status = "failed" if scorable and not metrics["score"] else metrics["status"]
    message = _explain_status(metrics)
    if message:
        logger.warning("%s, %s: %s", task.title, cell.label, message)
    return result(status, message, metrics)


def _thinking(title: str, predictions: Iterable[Prediction]) -> Iterator[str]:
    """What was removed from the answers before they were scored, if anything was."""
    answered = [found for found in predictions if found.answered]
    thought = [found for found in answered if found.thought is not None]
    if thought:
        tokens = sum(found.thought_tokens for found in thought)
        silent = sum(not found.predicted_answer for found in thought)
        yield (
            f"{title}: thinking ({tokens} tokens) was removed from {len(thought)} of "
            f"{len(answered)} answers; nothing was left of {silent}."
        )


def _explain_status(metrics: Mapping[str, Any]) -> str:
    counts = metrics["counts"]
    parts = [f"{number} failed ({reason})" for reason, number in metrics["failures"].items()]
    if counts["missing"]:
        parts.append(f"{counts['missing']} not computed")
    if counts["skipped"]:
        parts.append(f"{counts['skipped']} skipped")
    return f"of {counts['samples']} samples {', '.join(parts)}" if parts else ""
