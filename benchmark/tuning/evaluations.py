"""What was evaluated: the answers of configurations to the samples of a task, kept on disk.

``<folder>/<model>/<benchmark>/<subset>/<8 digits of the key>/`` holds ``key.json``, everything that
an answer depends on but for the configuration, ``evaluations-<n>.jsonl``, appended as answers come,
and ``costs-<n>.jsonl`` with what they cost; n tells processes apart that work at the same time.  A
search that was interrupted, another one with another objective, and the matrix after it find there
what needs no model call.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from benchmark.files import fingerprint, json_document, move_aside, try_lock, write_atomic
from benchmark.objectives import Measured
from benchmark.results.journal import append_records, read_records
from benchmark.results.metrics import score_predictions
from benchmark.results.records import Cost, Prediction, Record, Text
from benchmark.results.statistics import standard_error
from benchmark.run.failures import describe_error
from benchmark.run.task import Task
from benchmark.tuning.splits import Context, Split
from sparse_attention.errors import UserError
from sparse_attention.reading import read_json, user_folder

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Failure:
    """Why a configuration has no number."""

    reason: str
    detail: str


class Evaluation(Record):
    """The answer to one sample under one configuration; a line of the journal."""

    config: Text
    """Hash of the configuration."""
    prediction: Prediction

    @property
    def id(self) -> str:
        """``<configuration>:<sample>``, under which an answer is known."""
        return f"{self.config}:{self.prediction.id}"


class EvaluationCost(Record):
    """What an evaluation cost; a line of the journal beside, because it differs from run to run."""

    config: Text
    cost: Cost

    @property
    def id(self) -> str:
        """As of the evaluation."""
        return f"{self.config}:{self.cost.id}"


class TuningTask:
    """One model on one subset: its samples in two parts, and the answers to them so far."""

    def __init__(self, task: Task, split: Split, folder: Path) -> None:
        """Read what is known already; other processes write elsewhere until ``close``.

        Args:
            task: the samples and the key of their answers.
            split: of the samples.
            folder: of all evaluations.
        """
        self.task, self.split = task, split
        self._scope = fingerprint(task.key)
        self._folder = _folder(task, folder)
        self._locks: list[ExitStack] = []
        self._answers: dict[str, Prediction] = {}
        self._costs: dict[str, Cost] = {}
        self._open()

    @property
    def name(self) -> str:
        """``benchmark_subset``, as in cache keys."""
        return f"{self.task.benchmark.name}_{self.task.subset}"

    def _open(self) -> None:
        key_file = self._folder / "key.json"
        if any(self._folder.glob("[!.]*")) and not _holds(key_file, self.task.key):
            target = move_aside(self._folder)
            logger.warning(
                "%s has no readable key.json; moved to %s, its answers are asked for again",
                *(self._folder, target.name),
            )
        self._folder.mkdir(parents=True, exist_ok=True)
        if not key_file.exists():
            write_atomic(key_file, json_document(self.task.key))
        for number in count(1):
            path = self._folder / f"evaluations-{number}.jsonl"
            known = path.exists()
            lock = try_lock(self._folder / f".evaluations-{number}.lock")
            if lock is None:
                continue
            if self._locks and not known:
                lock.close()
                return
            costs = path.with_name(f"costs-{number}.jsonl")
            if not self._locks:
                self._journal, self._cost_journal = path, costs
            self._locks.append(lock)
            found = read_records(path, Evaluation.from_json, self._scope, repeats=True)
            self._answers.update({key: record.prediction for key, record in found.items()})
            spent = read_records(costs, EvaluationCost.from_json, self._scope, repeats=True)
            self._costs.update({key: record.cost for key, record in spent.items()})

    def close(self) -> None:
        """Let other processes have the files."""
        for lock in self._locks:
            lock.close()
        self._locks.clear()

    def answer(self, name: str, sample_id: str) -> Prediction | None:
        """What the configuration of a hash answered, if it was asked."""
        return self._answers.get(f"{name}:{sample_id}")

    def has(self, name: str, context: Context) -> bool:
        """Whether a configuration has answered (or failed on) all samples of a context."""
        return all(self.answer(name, sample.id) is not None for sample in context)

    def with_costs(self, name: str) -> dict[str, tuple[Prediction, Cost]]:
        """By sample, what a configuration answered of this task, where its cost is known too."""
        ids = {f"{name}:{sample}": sample for sample in self.task.ids}
        return {
            sample: (self._answers[key], self._costs[key])
            for key, sample in ids.items()
            if key in self._answers and key in self._costs
        }

    def add(self, name: str, predictions: Sequence[Prediction], costs: Sequence[Cost]) -> None:
        """Record answers, on disk first.  Failures are not kept on disk, to be tried again."""
        new = [
            Evaluation(config=name, prediction=prediction)
            for prediction in predictions
            if f"{name}:{prediction.id}" not in self._answers
        ]
        kept = [record for record in new if record.prediction.status != "failed"]
        if kept:
            names = {record.prediction.id for record in kept}
            spent = [EvaluationCost(config=name, cost=one) for one in costs if one.id in names]
            append_records(self._cost_journal, spent, self._scope)
            append_records(self._journal, kept, self._scope)
            self._costs.update({record.id: record.cost for record in spent})
        self._answers.update({record.id: record.prediction for record in new})

    def scored(self, name: str, contexts: Sequence[Context]) -> list[Prediction]:
        """Scored predictions of a configuration on the samples of contexts that it has."""
        samples = [sample for context in contexts for sample in context]
        known = [self.answer(name, sample.id) for sample in samples]
        found = {prediction.id: prediction for prediction in known if prediction is not None}
        scored, _ = score_predictions(self.task.benchmark, samples, found)
        return [scored[sample.id] for sample in samples]

    def measure(
        self, name: str, contexts: Sequence[Context], reference: str | None = None
    ) -> Measured | Failure:
        """Means over the samples of contexts that a configuration has.

        The difference is to the configuration of the hash ``reference``, dense attention's.

        One failed sample, a measurement that is missing or a mean that is not finite make it a
        failure: a mean over the others would compare different samples.
        """
        try:
            predictions = self.scored(name, contexts)
        except Exception as raised:  # whatever a metric raises: there is no score then
            return Failure("scoring", describe_error(raised))
        for prediction in predictions:
            if prediction.status == "failed":
                return Failure(prediction.reason, f"{prediction.id}: {prediction.detail}")
        answered = [prediction for prediction in predictions if prediction.answered]
        if not answered:
            return Failure("skipped", "no sample was answered")
        score, density = (
            _mean([getattr(prediction, field) for prediction in answered])
            for field in ("score", "density")
        )
        errors = [prediction.attention_error for prediction in answered]
        error = _mean(errors) if any(found is not None for found in errors) else None
        if not all(math.isfinite(mean) for mean in (score, density, error or 0.0)):
            return Failure("not_finite", f"score {score}, density {density}, error {error}")
        read = _mean([prediction.bytes_read for prediction in answered])
        return Measured(
            score=score,
            density=density,
            attention_error=error,
            bytes_read=read if math.isfinite(read) else None,
            **({} if reference is None else self._compared(answered, reference, contexts)),
            samples=len(answered),
        )

    def _compared(
        self, answered: Sequence[Prediction], reference: str, contexts: Sequence[Context]
    ) -> dict[str, float | None]:
        others = {found.id: found.score for found in self.scored(reference, contexts)}
        pairs = [(found, others[found.id]) for found in answered]
        differences = [
            found.score - other
            for found, other in pairs
            if found.score is not None and other is not None
        ]
        if len(differences) < len(answered):
            return {}
        return {
            "dense_difference": math.fsum(differences) / len(differences),
            "dense_error": standard_error(differences, [found.context for found in answered]),
        }


def _mean(values: Sequence[float | None]) -> float:
    """Mean; NaN if a value is missing."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else math.nan


def _holds(path: Path, key: Mapping[str, Any]) -> bool:
    try:
        return fingerprint(read_json(path, "key")) == fingerprint(key)
    except UserError:
        return False


def kept_answers(task: Task, cache_dir: str | Path) -> TuningTask | None:
    """The answers to a task that searches have left in a cache, if any; none can be added."""
    folder = evaluations_folder(cache_dir)
    if not _folder(task, folder).is_dir():
        return None
    everything = TuningTask(task, Split((), ()), folder)
    everything.close()
    return everything


def _folder(task: Task, evaluations: Path) -> Path:
    return task.folder(evaluations) / fingerprint(task.key)[:8]


def evaluations_folder(cache_dir: str | Path) -> Path:
    """Where a cache of searches has its evaluations."""
    return user_folder(cache_dir, "cache folder") / "evaluations"
