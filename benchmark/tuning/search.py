"""The searches of all studies as one run of Ray Tune, and the evaluations that trials ask for.

Ray Tune runs in a thread of its own: it asks ``_Searcher`` for trials and runs their processes.
What these ask comes to ``Search.run`` through a mailbox; it answers from evaluations that it has
workers do, as rows of one batch where trials need the same context.  It does not wait to be asked:
a trial's next rung is wanted as soon as it is known to go on.
"""

from __future__ import annotations

import logging
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ray import tune
from ray.tune.search import Searcher

from benchmark.run.errors import RunStopped
from benchmark.run.ray_session import before_shutdown, trial_resources
from benchmark.run.requests import Pool
from benchmark.tuning.post import Post
from benchmark.tuning.progress import TuningProgress
from benchmark.tuning.queue import EvaluationQueue, Want
from benchmark.tuning.records import TrialRecord
from benchmark.tuning.settings import OptimizationConfig
from benchmark.tuning.study import Study
from benchmark.tuning.trial import (
    OK,
    REASON,
    STATUS,
    STOP,
    STOPPED,
    Ask,
    Ending,
    Trial,
)
from sparse_attention.errors import UserError

logger = logging.getLogger(__name__)

_TUNE_ENDS_WITHIN = 30.0
"""Seconds after the last trial; a few are usual."""
_POLL = 0.01
"""Seconds between two looks into the mailbox.  A trial waits for its answer that much longer; each
look is a call of another process."""
_LINGER = 0.05
"""Seconds to wait for more trials to begin, which can then answer in the same batch.  Ray Tune
starts them one after the other: with less, batches have few rows; with more, workers stand idle."""
_DEATHS_OF_A_TRIAL = 10
"""Processes that may die under a trial, which holds no model and cannot be the cause."""
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
        pool: Pool,
        progress: TuningProgress,
    ) -> None:
        """Prepare; ``progress`` is told of answers and of every trial that ends."""
        self._studies, self._settings, self._pool = studies, settings, pool
        self._progress = progress
        self._queue = EvaluationQueue()
        self._mutex = threading.RLock()
        self._trials: dict[str, tuple[Study, TrialRecord]] = {}
        """Running trials by Ray Tune's names."""
        self._wanted: dict[str, int] = {}
        """The rung that a running trial needs next; none if it is to end."""
        self._reports: dict[Ask, dict[str, Any]] = {}
        """Answers, also to questions that are still to come; kept until the trial ends, because a
        trial whose process died asks again."""
        self._asked: set[Ask] = set()
        """Questions without an answer."""
        self._fresh = False
        """Whether a trial began whose evaluations may all be known."""
        self._newest = 0.0
        """When a trial last began."""
        self._end: float | None = None
        self._crash: BaseException | None = None

    def run(self) -> None:
        """Search until every study has its trials, or the time is up.

        Raises:
            UserError: if the model cannot be loaded.
            RunStopped: if Ray has gone.
        """
        for key, value in _ENVIRONMENT.items():
            os.environ.setdefault(key, value)
        # A trial whose process died begins again, which needs no traceback of Ray Tune's.
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        if self._settings.time_limit is not None:
            self._end = time.monotonic() + self._settings.time_limit
        self._post = Post()
        thread = threading.Thread(target=self._tune, args=(self._post.name,), daemon=True)
        thread.start()
        while thread.is_alive() and self._crash is None and not self._is_over():
            for request, result in self._pool.run(self._take, poll=_POLL):
                self._queue.record(request, result)
                self._advance()
                self._progress.answered()
            self._reply()
            time.sleep(_POLL)
        # The thread itself ends later: Ray Tune waits some seconds for idle processes to go.  If it
        # then finds no Ray, that can end this process.
        before_shutdown(lambda: thread.join(_TUNE_ENDS_WITHIN))
        if isinstance(self._crash, OSError | UserError | RunStopped):
            raise self._crash
        if self._crash is not None:
            raise RuntimeError(f"the search ended early: {self._crash!r}") from self._crash

    def evaluate(self, wants: Sequence[Want]) -> None:
        """Evaluate what no trial asks for, such as winners on samples held out."""
        for request, result in self._pool.run(lambda worker: self._queue.take(worker, wants)):
            self._queue.record(request, result)

    def _is_over(self) -> bool:
        with self._mutex:
            return not self._trials and not self.may_propose

    @property
    def may_propose(self) -> bool:
        """Whether there may be trials to begin, now or when those that run have ended."""
        with self._mutex:
            return not self._is_late() and not all(study.has_ended for study in self._studies)

    def _is_late(self) -> bool:
        return self._end is not None and time.monotonic() > self._end

    def _take(self, worker: int) -> Any:
        """The next request for a worker."""
        self._reply()
        with self._mutex:
            if self._is_late() or self._is_filling():
                return None
            wants = [
                want
                for trial, rung in self._wanted.items()
                for want in self._trials[trial][0].wants(self._trials[trial][1], rung)
            ]
        return self._queue.take(worker, wants)

    def _is_filling(self) -> bool:
        """Whether more trials may begin in a moment."""
        return time.monotonic() - self._newest < _LINGER

    def _advance(self) -> None:
        """Write the reports of all trials whose evaluations are there, and let the best go on."""
        with self._mutex:
            for study in self._studies:
                for rung in range(study.rungs):
                    ready = [
                        (name, record)
                        for name, (owner, record) in self._trials.items()
                        if owner is study and self._wanted.get(name) == rung
                        if not any(want.missing for want in study.wants(record, rung))
                    ]
                    reached = [(record, study.report(record, rung)) for _, record in ready]
                    study.halving.judge(rung, reached)
                    for (name, _), (_, report) in zip(ready, reached, strict=True):
                        self._reports[name, rung] = report
                        del self._wanted[name]
                        if report[STATUS] == OK and not report.get(STOP) and rung + 1 < study.rungs:
                            self._wanted[name] = rung + 1

    def _reply(self) -> None:
        """Answer all questions whose answer is known."""
        asks = self._post.collect()
        with self._mutex:
            self._asked.update(asks)
            if self._fresh and not self._is_filling():
                self._fresh = False
                self._advance()
            for ask in sorted(self._asked):
                if ask[0] not in self._trials:
                    self._asked.discard(ask)  # it was given up
                    continue
                if ask in self._reports:
                    report = self._reports[ask]
                elif self._is_late():
                    report = {STATUS: STOPPED, REASON: "the time was up"}
                else:
                    continue
                self._asked.discard(ask)
                self._post.reply(ask, report)

    def propose(self, trial: str) -> dict[str, Any] | None:
        """What a new trial gets, of the study that has had the fewest; None if there is none now.

        Called by the thread of Ray Tune, as is ``finish``.
        """
        with self._mutex:
            if self._is_late():
                return None
            for study in sorted(self._studies, key=lambda study: len(study.trials)):
                record = study.propose()
                if record is not None:
                    self._trials[trial] = study, record
                    self._wanted[trial] = 0
                    self._newest = time.monotonic()
                    self._fresh = True
                    return {"study": study.name, "rungs": study.rungs, "config": record.config}
            return None

    def finish(self, trial: str, status: Ending, reason: str) -> None:
        """Take over how a trial ended; its answers that nobody fetched are dropped."""
        with self._mutex:
            study, record = self._trials.pop(trial)
            self._wanted.pop(trial, None)
            self._reports = {ask: r for ask, r in self._reports.items() if ask[0] != trial}
            study.finish(record, status, reason)
        self._progress.advance(study, record)

    @contextmanager
    def crashing(self) -> Iterator[None]:
        """What goes wrong in the thread of Ray Tune ends the search."""
        try:
            yield
        except BaseException as error:
            self._crash = self._crash or error
            raise

    def _tune(self, mailbox: str) -> None:
        settings = self._settings
        try:
            with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
                tune.Tuner(
                    tune.with_resources(Trial, trial_resources()),
                    tune_config=tune.TuneConfig(
                        search_alg=_Searcher(self, mailbox, settings.timeout_per_trial),
                        num_samples=-1,
                        max_concurrent_trials=settings.max_concurrent_trials,
                        reuse_actors=True,
                    ),
                    run_config=tune.RunConfig(
                        storage_path=folder,
                        name="search",
                        verbose=0,
                        failure_config=tune.FailureConfig(max_failures=_DEATHS_OF_A_TRIAL),
                    ),
                ).fit()
        except BaseException as error:
            if not self._is_over():
                self._crash = self._crash or error


class _Searcher(Searcher):
    """What Ray Tune asks for trials; see ``Search.propose`` and ``Search.finish``."""

    def __init__(self, search: Search, mailbox: str, timeout: float | None) -> None:
        super().__init__()
        self._search = search
        self._common = {"mailbox": mailbox, "timeout": timeout}

    def suggest(self, trial_id: str) -> Any:
        """The settings of a new trial."""
        with self._search.crashing():
            found = self._search.propose(trial_id)
            if found is None:
                return None if self._search.may_propose else Searcher.FINISHED
        return {**self._common, **found}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """A trial has ended, by itself or with its process."""
        with self._search.crashing():
            if error or result is None or STATUS not in result:
                self._search.finish(trial_id, STOPPED, "the trial's process died again and again")
            else:
                self._search.finish(trial_id, result[STATUS], result.get(REASON, ""))

    def __getstate__(self) -> dict[str, Any]:
        # Ray Tune writes itself down to be restored some day, which is not how searches go on here.
        return {}

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the studies keep journals."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""
