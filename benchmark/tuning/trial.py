"""A trial as Ray Tune runs it: it holds no model, it asks for the losses of its configuration.

This module is all that a trial's process imports, so that one starts quickly.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any, Final, Literal

import ray
from ray import tune

OK: Final = "ok"
FAILED: Final = "failed"
TIMED_OUT: Final = "timed_out"
STOPPED: Final = "stopped"
Ending = Literal["ok", "failed", "timed_out", "stopped"]
"""How a trial ended; ``stopped``: it is to be tried again, because the time of the search was up or
its processes were killed."""

STATUS, REASON, LOSS, STOP = "status", "reason", "loss", "stop"
"""Names in a trial's report; ``stop``: it is not among those that go on."""

Ask = tuple[str, int]
"""A trial and the rung whose losses it asks for."""


class Mailbox:
    """Carries questions of trials to the process with the samples, and its answers back."""

    def __init__(self) -> None:
        self._asked: list[Ask] = []
        self._answers: dict[Ask, asyncio.Future[dict[str, Any]]] = {}

    def _answer(self, ask: Ask) -> asyncio.Future[dict[str, Any]]:
        return self._answers.setdefault(ask, asyncio.get_running_loop().create_future())

    async def ask(self, trial: str, rung: int) -> dict[str, Any]:
        """The report of a trial at a rung; waits until it is known."""
        self._asked.append((trial, rung))
        return await self._answer((trial, rung))

    async def collect(self) -> list[Ask]:
        """What was asked since the last call."""
        asked, self._asked = self._asked, []
        return asked

    async def reply(self, ask: Ask, report: dict[str, Any]) -> None:
        """Give a report to the trial that asks for it, now or later."""
        answer = self._answer(ask)
        if not answer.done():
            answer.set_result(report)


class Trial(tune.Trainable):
    """One configuration, from rung to rung until it is told to stop."""

    def setup(self, config: dict[str, Any]) -> None:
        """Begin; ``config`` has the name of the ``mailbox``, the ``rungs`` and the ``timeout``."""
        self._mailbox = ray.get_actor(config["mailbox"])
        self._rungs, self._timeout = config["rungs"], config["timeout"]
        self._rung = 0
        self._end: float | None = None

    def step(self) -> dict[str, Any]:
        """The report at the next rung."""
        if self._timeout is not None and self._end is None:
            self._end = time.monotonic() + self._timeout
        left = None if self._end is None else max(0.0, self._end - time.monotonic())
        report: Any
        try:
            report = ray.get(self._mailbox.ask.remote(self.trial_id, self._rung), timeout=left)
        except ray.exceptions.GetTimeoutError:
            report = {STATUS: TIMED_OUT, REASON: f"no result after {self._timeout} s"}
        self._rung += 1
        ended = report[STATUS] != OK or report.get(STOP, False) or self._rung == self._rungs
        return {**report, "done": ended}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Become another trial; the process goes on."""
        self.setup(new_config)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Nothing to save: what was evaluated is in the journal."""

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        """Nothing to load."""
