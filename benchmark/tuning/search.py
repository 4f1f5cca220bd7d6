"""The searches of all studies as one run of Ray Tune, and the evaluations that trials ask for.

Ray Tune runs in a thread of its own: it asks ``_Searcher`` for trials, starts their processes and
lets ``_Scheduler`` stop them.  The trials' questions come to ``Search.run`` through a mailbox; it
answers them from evaluations that it has workers do, as rows of one batch where trials wait for the
same context.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ray
from ray import tune
from ray.tune.experiment import Trial as TuneTrial
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from benchmark.ray_session import trial_resources
from benchmark.tuning.progress import TuningProgress
from benchmark.tuning.queue import EvaluationQueue, Want
from benchmark.tuning.settings import OptimizationConfig
from benchmark.tuning.study import STOPPED, Study, TrialRecord
from benchmark.tuning.trial import FAILED, LOSS, REASON, RESOURCE, STATUS, Ask, Mailbox, Trial
from benchmark.workers import WorkerPool

logger = logging.getLogger(__name__)

_POLL = 0.01
"""Seconds between two looks into the mailbox."""
_LINGER = 0.05
"""Seconds that a question waits for others, which can then be answered in the same batch."""
_ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "RAY_AIR_NEW_OUTPUT": "0",
}


class Search:
    """All studies of a call, on the workers of one pool."""

    def __init__(
        self,
        studies: Sequence[Study],
        settings: OptimizationConfig,
        pool: WorkerPool,
        progress: TuningProgress,
    ) -> None:
        """Prepare; ``progress`` is told of every trial that ends."""
        self._studies, self._settings, self._pool = studies, settings, pool
        self._progress = progress
        self._queue = EvaluationQueue()
        self._mutex = threading.RLock()
        self._trials: dict[str, tuple[Study, TrialRecord]] = {}
        """Running trials by Ray Tune's names."""
        self._wanted: dict[str, int] = {}
        """The rung that each running trial needs next, also before it asks."""
        self._asked: set[Ask] = set()
        """Questions without an answer."""
        self._newest = 0.0
        """When a trial last began or asked."""
        self._end: float | None = None
        self._crash: BaseException | None = None

    def run(self) -> None:
        """Search until every study has its trials, or the time is up.

        Raises:
            UserError: if the model cannot be loaded.
        """
        for key, value in _ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        if self._settings.time_limit is not None:
            self._end = time.monotonic() + self._settings.time_limit
        name = f"sparse-bench-mailbox-{os.getpid()}-{id(self)}"
        self._mailbox: Any = ray.remote(Mailbox).options(name=name, num_cpus=0).remote()
        thread = threading.Thread(target=self._tune, args=(name,), daemon=True)
        thread.start()
        # The thread itself ends later: Ray Tune waits some seconds for idle processes to go.
        while thread.is_alive() and not self._is_over():
            for request, outcome in self._pool.run(self._take, poll=_POLL):
                self._queue.record(request, outcome)
                self._reply()
            self._reply()
            time.sleep(_POLL)
        if self._crash is not None:
            raise RuntimeError(f"the search ended early: {self._crash!r}") from self._crash

    def evaluate(self, wants: Sequence[Want]) -> None:
        """Evaluate outside of any trial."""
        for request, outcome in self._pool.run(lambda worker: self._queue.take(worker, wants)):
            self._queue.record(request, outcome)

    def _is_over(self) -> bool:
        with self._mutex:
            ended = all(study.has_ended for study in self._studies)
            return not self._trials and (ended or self._is_late())

    def _is_late(self) -> bool:
        return self._end is not None and time.monotonic() > self._end

    def _take(self, worker: int) -> Any:
        """The next request for a worker."""
        self._collect()
        self._reply()
        with self._mutex:
            if self._is_late() or self._is_filling():
                return None
            wants = [
                want
                for trial, rung in self._wanted.items()
                for want in self._trials[trial][0].wants(self._trials[trial][1].attention, rung)
            ]
        return self._queue.take(worker, wants)

    def _is_filling(self) -> bool:
        """Whether more questions may come in a moment."""
        return time.monotonic() - self._newest < _LINGER

    def _collect(self) -> None:
        for ask in ray.get(self._mailbox.collect.remote()):
            with self._mutex:
                self._asked.add(ask)
                self._newest = time.monotonic()
                if ask[0] in self._wanted:
                    self._wanted[ask[0]] = ask[1]

    def _reply(self) -> None:
        """Answer all questions whose evaluations are there."""
        self._collect()
        with self._mutex:
            for ask in sorted(self._asked):
                trial, rung = ask
                if trial not in self._trials:
                    self._asked.discard(ask)  # it was given up
                    continue
                study, record = self._trials[trial]
                if not any(want.missing for want in study.wants(record.attention, rung)):
                    report = study.report(record, rung)
                elif self._is_late():
                    report = {STATUS: STOPPED, REASON: "the time was up"}
                else:
                    continue
                self._asked.discard(ask)
                self._mailbox.reply.remote(ask, report)

    def propose(self, trial: str) -> dict[str, Any] | None:
        """A trial of the study that has had the fewest; None if there are enough."""
        with self._mutex:
            if self._is_late():
                return None
            for study in sorted(self._studies, key=lambda study: len(study.trials)):
                record = study.propose()
                if record is not None:
                    self._trials[trial] = study, record
                    self._wanted[trial] = 0
                    self._newest = time.monotonic()
                    return {"study": study.name, "rungs": study.rungs, "config": record.config}
            return None

    def finish(self, trial: str, status: str, reason: str) -> None:
        """A trial has ended."""
        with self._mutex:
            study, record = self._trials.pop(trial)
            self._wanted.pop(trial, None)
            study.finish(record, status, reason)
        self._progress.advance(study, record)

    def _tune(self, mailbox: str) -> None:
        settings = self._settings
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                tune.Tuner(
                    tune.with_resources(Trial, trial_resources()),
                    tune_config=tune.TuneConfig(
                        search_alg=_Searcher(self, mailbox, settings.timeout_per_trial),
                        scheduler=_Scheduler(self._studies) if settings.stops_early else None,
                        num_samples=-1,
                        max_concurrent_trials=settings.max_concurrent_trials,
                        reuse_actors=True,
                    ),
                    run_config=tune.RunConfig(storage_path=folder, name="search", verbose=0),
                ).fit()
        except BaseException as error:
            if not self._is_over():
                self._crash = error


class _Searcher(Searcher):
    """What Ray Tune asks for trials; see ``Search.propose`` and ``Search.finish``."""

    def __init__(self, search: Search, mailbox: str, timeout: float | None) -> None:
        super().__init__()
        self._search = search
        self._common = {"mailbox": mailbox, "timeout": timeout}

    def suggest(self, trial_id: str) -> Any:
        """The settings of a new trial."""
        found = self._search.propose(trial_id)
        return Searcher.FINISHED if found is None else {**self._common, **found}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial has ended, by itself, by the scheduler or with its process."""
        if error or result is None or STATUS not in result:
            self._search.finish(trial_id, FAILED, "the trial's process ended")
        else:
            self._search.finish(trial_id, result[STATUS], result.get(REASON, ""))

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune writes itself down to be restored some day, which is not how searches go on here.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the studies keep journals."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class _Scheduler(FIFOScheduler):
    """Asynchronous successive halving (Li et al. 2020) within each study."""

    def __init__(self, studies: Sequence[Study]) -> None:
        super().__init__()
        self._halving = {
            study.name: AsyncHyperBandScheduler(
                time_attr=RESOURCE,
                metric=LOSS,
                mode="min",
                max_t=study.settings.reduction_factor ** (study.rungs - 1),
                reduction_factor=study.settings.reduction_factor,
            )
            for study in studies
        }

    def on_trial_add(self, tune_controller: Any, trial: TuneTrial) -> None:
        """A trial begins."""
        self._of(trial).on_trial_add(tune_controller, trial)

    def on_trial_result(
        self, tune_controller: Any, trial: TuneTrial, result: Mapping[str, Any]
    ) -> str:
        """Whether a trial goes on to the next rung."""
        if LOSS not in result:
            return TrialScheduler.CONTINUE
        return self._of(trial).on_trial_result(tune_controller, trial, dict(result))

    def on_trial_complete(
        self, tune_controller: Any, trial: TuneTrial, result: Mapping[str, Any]
    ) -> None:
        """A trial has ended by itself."""
        self._of(trial).on_trial_complete(tune_controller, trial, dict(result))

    def on_trial_remove(self, tune_controller: Any, trial: TuneTrial) -> None:
        """A trial was stopped or its process ended."""
        self._of(trial).on_trial_remove(tune_controller, trial)

    def _of(self, trial: TuneTrial) -> AsyncHyperBandScheduler:
        return self._halving[trial.config["study"]]
