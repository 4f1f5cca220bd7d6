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

    A context goes to one worker only, which keeps its prefill; a worker without a context of its
    own takes the next that nobody has.
    """

    def __init__(self) -> None:
        self._owner: dict[tuple[str, str], int] = {}
        self._tasks: dict[str, TuningTask] = {}
        self._busy: set[tuple[str, str, str]] = set()

    def take(self, worker: int, wants: Sequence[Want]) -> Request | None:
        """The next request for a worker, with the context that most of ``wants`` wait for."""
        waiting: dict[tuple[str, str], list[Want]] = {}
        contexts: dict[tuple[str, str], Context] = {}
        for want in wants:
            for context in want.missing:
                place = (want.task.name, context[0].id)
                if self._owner.get(place, worker) != worker:
                    continue
                if (*place, want.name) not in self._busy:
                    waiting.setdefault(place, []).append(want)
                    contexts[place] = context
        if not waiting:
            return None
        # Its own contexts first: their prefills are there.
        place = max(waiting, key=lambda found: (found in self._owner, len(waiting[found])))
        self._owner[place] = worker
        task = waiting[place][0].task
        configs = {want.name: want.config for want in waiting[place]}
        self._busy.update((*place, name) for name in configs)
        self._tasks[task.task.id] = task
        return task.task.request(contexts[place], configs)

    def record(self, request: Request, result: ContextResult) -> None:
        """Keep what came of a request.

        Raises:
            UserError: if the model cannot be loaded.
        """
        task = self._tasks[request.task]
        first = request.samples[0].id
        self._busy.difference_update((task.name, first, name) for name in request.configs)
        if result.model_failure is not None:
            name = task.task.model.name
            raise UserError(f"model {name} cannot be loaded: {result.model_failure.message}")
        for name, predictions in result.predictions.items():
            task.add(name, predictions, result.costs[name])
