"""One search: its trials, from proposal to winner."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from threading import RLock
from typing import Any

from benchmark.files import try_lock
from benchmark.generic_config_optimizer import GenericConfigOptimizer
from benchmark.objectives import Measured
from benchmark.results.journal import append_records, read_records
from benchmark.tuning.evaluations import Failure, TuningTask
from benchmark.tuning.halving import Halving
from benchmark.tuning.optuna_journal import SUFFIX, OptunaJournal
from benchmark.tuning.proposals import Proposals
from benchmark.tuning.queue import Want
from benchmark.tuning.records import (
    COMPLETE,
    PRUNED,
    RUNNING,
    OnTask,
    Rung,
    TrialRecord,
    config_hash,
    ended_trial,
)
from benchmark.tuning.settings import OptimizationConfig
from benchmark.tuning.splits import Context, rung_sizes
from benchmark.tuning.trial import FAILED, LOSS, OK, REASON, STATUS, STOPPED, Ending
from sparse_attention.config import AttentionConfig
from sparse_attention.errors import UserError

logger = logging.getLogger(__name__)

DENSE = AttentionConfig()
DENSE_NAME = config_hash(DENSE)


class Study:
    """The search of one config type's settings, for one task or for several together.

    Trials are proposed and finished by the thread of Ray Tune and measured by another one.
    """

    def __init__(
        self,
        name: str,
        space: GenericConfigOptimizer,
        tasks: Sequence[TuningTask],
        settings: OptimizationConfig,
        journal: Path,
    ) -> None:
        """Start, or go on with what ``journal`` has.

        Args:
            name: for people.
            space: where to search.
            tasks: on which; a loss is the mean over them.
            settings: algorithm, objective, rungs and number of trials.
            journal: file of finished trials.

        Raises:
            UserError: if another process works on the journal.
        """
        self.name, self.space, self.tasks, self.settings = name, space, tuple(tasks), settings
        self.trials: list[TrialRecord] = []
        self._objective = settings.objective
        self._proposals = Proposals(
            space, settings.search_algorithm, settings.seed, self._objective.dimensions
        )
        self._numbers: dict[int, int] = {}
        self._exhausted = False
        self._mutex = RLock()
        self.halving = Halving(settings, min(len(task.split.tuning) for task in tasks))
        self.rungs = self.halving.rungs
        journal.parent.mkdir(parents=True, exist_ok=True)
        self._journal, self._lock = journal, try_lock(journal.with_name(f".{journal.name}.lock"))
        if self._lock is None:
            raise UserError(f"another process is searching {name}; wait for it.")
        self._replay()
        copy = journal.with_name(f"{journal.stem}{SUFFIX}")
        self._copy = OptunaJournal(copy, space, self._objective.dimensions, self.trials)

    def close(self) -> None:
        """Let other processes have the journal."""
        if self._lock is not None:
            self._lock.close()

    def _replay(self) -> None:
        known = read_records(self._journal, ended_trial, self._journal.name, repeats=True)
        for record in list(known.values())[: self.settings.num_samples]:
            try:
                self._proposals.replay(record.point, record.losses)
            except (KeyError, UserError) as error:
                logger.warning("%s: trial %d is left out (%s)", self._journal, record.number, error)
                continue
            record.number = len(self.trials)
            self.trials.append(record)
            self.halving.replay(record)
        if self.trials:
            logger.info("%s: goes on after %d trials", self.name, len(self.trials))

    def contexts(self, task: TuningTask, rung: int) -> tuple[Context, ...]:
        """What a trial at ``rung`` has seen of a task."""
        tuning = task.split.tuning
        sizes = rung_sizes(len(tuning), self.rungs, self.settings.reduction_factor)
        return tuning[: sizes[rung]]

    def wants(self, record: TrialRecord, rung: int) -> list[Want]:
        """What must be evaluated before a trial has its loss at ``rung``."""
        wants = []
        for task in self.tasks:
            contexts = self.contexts(task, rung)
            wants.append(Want(task, record.id, record.attention, contexts))
            if self._objective.needs_dense:
                wants.append(Want(task, DENSE_NAME, DENSE, contexts))
        return wants

    def propose(self) -> TrialRecord | None:
        """A new trial, or one that was stopped and goes on; None if there is none by now."""
        with self._mutex:
            if self._is_enough:
                return self._resume()
            found = self._proposals.next()
            if found is None:
                self._exhausted = True
                return self._resume()
            number, point, config = found
            record = TrialRecord(
                number=len(self.trials),
                point=point,
                config=config.to_json(),
                status=RUNNING,
                reason="",
                rungs=[],
            )
            self._numbers[record.number] = number
            self.trials.append(record)
            return record

    def _resume(self) -> TrialRecord | None:
        record = self._second_chance()
        if record is not None:
            self.halving.resume(record)
        return record

    @property
    def _is_enough(self) -> bool:
        return self._exhausted or len(self.trials) >= self.settings.num_samples

    @property
    def has_ended(self) -> bool:
        """Whether no trial will follow and none is running."""
        with self._mutex:
            if not self._is_enough or any(record.status == RUNNING for record in self.trials):
                return False
            return self._second_chance() is None

    def _second_chance(self) -> TrialRecord | None:
        return self.halving.second_chance(self.trials, self.is_feasible, self._settles)

    @property
    def answers(self) -> tuple[int, int]:
        """How many answers there are for its trials, and about how many there will be.

        Of trials that have not ended as many are expected as successive halving lets them have.
        """
        expected, seen = 0.0, 0
        for rung in range(self.rungs):
            size = sum(len(c) for task in self.tasks for c in self.contexts(task, rung))
            expected += (size - seen) / self.settings.reduction_factor**rung
            seen = size
        with self._mutex:
            running = [record for record in self.trials if record.status == RUNNING]
            ended = sum(self._had(record) for record in self.trials if record.status != RUNNING)
            to_come = 0 if self._exhausted else self.settings.num_samples - len(self.trials)
            had = [self._had(record) for record in running]
        wanted = sum(max(number, expected) for number in had) + to_come * expected
        return ended + sum(had), ended + round(wanted)

    def _had(self, record: TrialRecord) -> int:
        contexts = [(task, c) for task in self.tasks for c in task.split.tuning]
        return sum(len(c) for task, c in contexts if task.has(record.id, c))

    def report(self, record: TrialRecord, rung: int) -> dict[str, Any]:
        """What the trial reports at ``rung``, all of whose evaluations are there."""
        measured: dict[str, Measured] = {}
        losses = []
        for task in self.tasks:
            contexts = self.contexts(task, rung)
            dense = task.measure(DENSE_NAME, contexts) if self._objective.needs_dense else None
            reference = DENSE_NAME if isinstance(dense, Measured) else None
            found = task.measure(record.id, contexts, reference)
            for result, owner in ((found, ""), (dense, "dense attention: ")):
                if isinstance(result, Failure):
                    reason = f"{task.name}: {owner}{result.reason}: {result.detail}"
                    return {STATUS: FAILED, REASON: reason}
            assert isinstance(found, Measured)
            dense_score = dense.score if isinstance(dense, Measured) else None
            measured[task.name] = found
            losses.append(self._objective.losses(found, dense_score))
        means = [sum(column) / len(column) for column in zip(*losses, strict=True)]
        with self._mutex:
            record.rungs[rung:] = [
                Rung(
                    losses=means,
                    mean=_mean(list(measured.values())),
                    tasks={
                        name: OnTask(losses=list(own), **found.to_json())
                        for (name, found), own in zip(measured.items(), losses, strict=True)
                    },
                )
            ]
        return {STATUS: OK, LOSS: means[0]}

    def finish(self, record: TrialRecord, ending: Ending, reason: str = "") -> None:
        """A trial has ended; one that was stopped is forgotten, to be tried again."""
        with self._mutex:
            record.reason = reason
            if ending != OK:
                record.status = ending
            else:
                record.status = COMPLETE if len(record.rungs) == self.rungs else PRUNED
            if record.number in self._numbers:  # not told before it had a second chance
                self._proposals.tell(self._numbers.pop(record.number), record.losses)
            if ending != STOPPED:
                append_records(self._journal, [record], self._journal.name)
                self._copy.add(record)

    @property
    def complete(self) -> list[TrialRecord]:
        """Trials that saw all samples."""
        return [record for record in self.trials if record.status == COMPLETE]

    def is_feasible(self, record: TrialRecord) -> bool:
        """Whether a trial that saw all samples keeps the constraint, if any, on every task."""
        return all(self._objective.is_kept(task.losses) for task in record.rungs[-1].tasks.values())

    def is_clear(self, record: TrialRecord) -> bool:
        """Whether it keeps the constraint, if any, by one standard error on every task."""
        return all(
            self._objective.is_clear(task.losses, task) for task in record.rungs[-1].tasks.values()
        )

    def _settles(self, record: TrialRecord) -> bool:
        """Whether nothing that reads more has to be seen for this one's sake.

        Also where samples are lacking: then no other trial would be clear either.
        """
        tasks = record.rungs[-1].tasks.values()
        lacking = not all(self._objective.can_be_clear(task) for task in tasks)
        return lacking or self.is_clear(record)

    def winner(self) -> TrialRecord | None:
        """The best trial of those that saw all samples and keep the constraint.

        Those that keep it clearly come first.  Where none keeps it, the one with the best score, of
        equal scores the densest.
        """
        complete = self.complete
        trials = [record for record in complete if self.is_clear(record)]
        trials = trials or [record for record in complete if self.is_feasible(record)]
        if not trials:
            means = [(record.rungs[-1].mean, record) for record in complete]
            best = max(means, key=lambda one: (one[0].score, one[0].density), default=None)
            return None if best is None else best[1]
        losses = [record.rungs[-1].losses for record in trials]
        densities = [record.rungs[-1].mean.density for record in trials]
        return trials[self._objective.best(losses, densities)]

    def winner_of(self, task: TuningTask) -> TrialRecord:
        """The trial, of those that saw all samples, that is best on one task alone."""
        own = [(record, record.rungs[-1].tasks[task.name]) for record in self.complete]
        clear = [one for one in own if self._objective.is_clear(one[1].losses, one[1])]
        trials = clear or own
        place = self._objective.best(
            [found.losses for _, found in trials], [found.density for _, found in trials]
        )
        return trials[place][0]


def _mean(measured: Sequence[Measured]) -> Measured:
    """Plain mean over tasks."""
    columns: Mapping[str, list[float | None]] = {
        name: [getattr(found, name) for found in measured]
        for name in ("score", "density", "attention_error", "bytes_read")
    }
    means: dict[str, Any] = {}
    for name, values in columns.items():
        known = [value for value in values if value is not None]
        means[name] = sum(known) / len(known) if len(known) == len(values) else None
    return Measured(**means, samples=sum(found.samples for found in measured))
