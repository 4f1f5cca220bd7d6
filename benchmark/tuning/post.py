"""The mailbox of trials, from the side of the process with the samples."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import ray

from benchmark.run.errors import RunStopped
from benchmark.run.ray_session import check_ray
from benchmark.tuning import trial
from benchmark.tuning.trial import Ask, Mailbox

_LOOK = 5.0
"""Seconds that the mailbox may take to answer before it is asked whether Ray still lives."""


class Post:
    """A mailbox in a process of its own, which Ray starts again where it dies."""

    def __init__(self) -> None:
        # Like workers, processes of trials are not to meet a file of the user of our names.
        ray.cloudpickle.register_pickle_by_value(trial)
        self.name = f"sparse-bench-mailbox-{uuid4()}"
        self._mailbox: Any = (
            ray.remote(Mailbox)
            .options(name=self.name, num_cpus=0, max_restarts=-1, max_task_retries=-1)
            .remote()
        )
        self._looking: Any = None
        """Ray's reference to what the mailbox is being asked for."""

    def collect(self) -> list[Ask]:
        """What trials asked since the last call.

        Raises:
            RunStopped: if there is no mailbox any more.
        """
        if self._looking is None:
            self._looking = self._mailbox.collect.remote()
        # What does not come in time is waited for the next time: it may carry questions.
        if not ray.wait([self._looking], timeout=_LOOK)[0]:
            check_ray()
            return []
        looking, self._looking = self._looking, None
        try:
            return ray.get(looking)
        except ray.exceptions.RayError as error:
            check_ray()
            raise RunStopped(
                "the process that carries the questions of trials has ended and does not come "
                "back. What was evaluated is kept, run again to go on."
            ) from error

    def reply(self, ask: Ask, report: dict[str, Any]) -> None:
        """Answer a question, whenever it is asked."""
        self._mailbox.reply.remote(ask, report)
