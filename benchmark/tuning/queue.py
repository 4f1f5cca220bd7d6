"""What waits to be evaluated, handed to workers so that rows and prefills are shared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchmark.run.requests import ContextResult, Request
from benchmark.tuning.evaluations import TuningTask
from benchmark.tuning.splits import Context
from sparse_attention.config import AttentionConfig
from sparse_attention.errors import UserError


@dataclass(frozen=True)
class Want:
    """Some contexts of a task that a configuration is to be evaluated on."""

    task: TuningTask
    name: str
    """Hash of the configuration."""
    config: AttentionConfig
    contexts: tuple[Context, ...]

    @property
    def missing(self) -> list[Context]:
        """Contexts that are still to be done."""
        return [context for context in self.contexts if not self.task.has(self.name, context)]


class EvaluationQueue:
    """Groups what is wanted into requests: one context, all configurations that wait for it.

    A context stays with one worker, which keeps its prefill; a worker without a context of its own
    takes the next that nobody has, or one whose worker is gone: it answers nothing, and did not ask
    since this one asked last.
    """

    def __init__(self) -> None:
        self._owner: dict[tuple[str, str], int] = {}
        self._tasks: dict[str, TuningTask] = {}
        self._busy: dict[tuple[str, str, str], int] = {}
        """What is being answered, and by which worker."""
        self._clock = 0
        self._heard: dict[int, int] = {}
        """When each worker asked last, by the count of questions."""

    def take(self, worker: int, wants: Sequence[Want]) -> Request | None:
        """The next request for a worker, with the context that most of ``wants`` wait for."""
        gone = self._gone(worker)
        waiting: dict[tuple[str, str], list[Want]] = {}
        contexts: dict[tuple[str, str], Context] = {}
        for want in wants:
            for context in want.missing:
                place = (want.task.name, context[0].id)
                if self._owner.get(place, worker) not in (worker, *gone):
                    continue
                if (*place, want.name) not in self._busy:
                    waiting.setdefault(place, []).append(want)
                    contexts[place] = context
        if not waiting:
            return None
        # Its own contexts first: their prefills are there.
        place = max(
            waiting, key=lambda found: (self._owner.get(found) == worker, len(waiting[found]))
        )
        self._owner[place] = worker
        task = waiting[place][0].task
        configs = {want.name: want.config for want in waiting[place]}
        self._busy.update({(*place, name): worker for name in configs})
        self._tasks[task.task.id] = task
        return task.task.request(contexts[place], configs)

    def _gone(self, worker: int) -> list[int]:
        """Workers that seem to be gone, now that this one asks."""
        self._clock += 1
        before, self._heard[worker] = self._heard.get(worker, 0), self._clock
        busy = set(self._busy.values())
        return [one for one, heard in self._heard.items() if heard < before and one not in busy]

    def record(self, request: Request, result: ContextResult) -> None:
        """Keep what came of a request.

        Raises:
            UserError: if the model cannot be loaded.
        """
        task = self._tasks[request.task]
        first = request.samples[0].id
        for name in request.configs:
            self._busy.pop((task.name, first, name), None)
        if result.model_failure is not None:
            name = task.task.model.name
            raise UserError(f"model {name} cannot be loaded: {result.model_failure.message}")
        for name, predictions in result.predictions.items():
            task.add(name, predictions, result.costs[name])
