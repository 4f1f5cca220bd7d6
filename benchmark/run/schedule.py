"""Who answers which samples: in which order, and in how large parts."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence

from benchmark.suite.base import Sample

_PART = 4
"""Samples of one context that a worker gets at a time.  At the end of a run others wait for so many
at most; a worker that goes on with its context has the prefill."""


class _Context:
    """One context with what waits of it."""

    def __init__(self, samples: Sequence[Sample]) -> None:
        starts = range(0, len(samples), _PART)
        self.parts = deque(samples[start : start + _PART] for start in starts)
        self.length = len(samples[0].context)
        self.asked = 0
        """Parts that are being answered."""


class ContextQueue:
    """Contexts that wait, the longest first, so that no long one is left when all others are done.

    A worker goes on with its own context.  One that is another's is begun again, with a prefill of
    its own, only where nothing else is left: if several parts of it wait, or if its worker is gone.
    """

    def __init__(self, contexts: Iterable[Sequence[Sample]]) -> None:
        ordered = sorted(map(_Context, contexts), key=lambda one: one.length, reverse=True)
        self._contexts, self._waiting = ordered, deque(ordered)
        self._own: dict[int, _Context] = {}
        """What each worker had last."""
        self._begun: dict[str, _Context] = {}
        """By the id of a part's first sample."""

    @property
    def parts(self) -> int:
        """How many parts wait to be taken."""
        return sum(len(context.parts) for context in self._contexts)

    def take(self, worker: int) -> Sequence[Sample] | None:
        """Samples of one context for a worker; None if there are none for it now."""
        context = self._own.get(worker)
        if context is None or not context.parts:
            context = self._waiting.popleft() if self._waiting else self._others()
        if context is None:
            return None
        self._own[worker] = context
        context.asked += 1
        part = context.parts.popleft()
        self._begun[part[0].id] = context
        return part

    def _others(self) -> _Context | None:
        most = max(self._own.values(), key=lambda one: len(one.parts), default=None)
        if most is None or not most.parts or (len(most.parts) == 1 and most.asked):
            return None
        return most

    def done(self, part: Sequence[Sample]) -> None:
        """A part that was taken has its answers, or is given up."""
        self._begun.pop(part[0].id).asked -= 1
