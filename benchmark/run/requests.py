"""What goes to a worker and what comes back; what a pool of workers does."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

from benchmark.executor_config import AdapterConfig
from benchmark.results.records import Cost, Prediction, Reason, six_digits
from benchmark.run.devices import Devices
from benchmark.suite.base import Sample
from benchmark.suite.fingerprints import context_fingerprint
from sparse_attention.config import AttentionConfig
from sparse_attention.prompt import PromptSettings


@dataclass(frozen=True)
class Request:
    """Samples of one context, to be answered under all configurations."""

    task: str
    """``Task.id``, by which the sender knows whose samples these are."""
    model: str
    """Folder or hub name."""
    revision: str | None
    samples: tuple[Sample, ...]
    configs: Mapping[str, AttentionConfig]
    """By label."""
    prompt: PromptSettings
    scope: str
    """Names the subset; keys random draws together with the sample's id."""
    shown: frozenset[str] = frozenset()
    """Ids of the samples whose whole prompt is to be recorded."""
    max_rows: int | None = None
    """Configurations that are decoded together at most; None: as the settings say."""

    def with_fewer_rows(self) -> Self:
        """The same, with half as many rows in a batch."""
        rows = min(self.max_rows or len(self.configs), len(self.configs))
        return replace(self, max_rows=max(1, (rows + 1) // 2))


@dataclass(frozen=True)
class ModelFailure:
    """Why a model could not be loaded."""

    message: str
    by_user: bool
    """Whether the cause is the user's to mend."""


def identity(sample: Sample) -> dict[str, Any]:
    """The fields of a record that say which sample it is of."""
    return {
        "id": sample.id,
        "task": sample.task,
        "context": context_fingerprint(sample.context),
        "question": sample.question,
        "answer_prefix": sample.answer_prefix,
        "references": list(sample.answers),
        **_place(sample),
    }


_AROUND = 120
"""Characters of an excerpt on each side."""
_SHORTEST = 3
"""Characters of a reference that is looked for; shorter ones, such as A, stand everywhere."""


def _place(sample: Sample) -> dict[str, Any]:
    """Depth and excerpt of a record."""
    for answer in sample.answers:
        at = sample.context.find(answer) if len(answer) >= _SHORTEST else -1
        if at >= 0:
            excerpt = sample.context[max(0, at - _AROUND) : at + len(answer[:_AROUND]) + _AROUND]
            # What is said again, as a variable is that others are set to, has no one depth.
            is_single = sample.context.find(answer, at + 1) < 0
            depth = six_digits(at / len(sample.context)) if is_single else None
            return {"depth": depth, "excerpt": excerpt}
    return {"depth": None, "excerpt": sample.context[: 2 * _AROUND]}


@dataclass
class ContextResult:
    """Records of the samples of one context, by configuration label."""

    predictions: dict[str, list[Prediction]] = field(default_factory=dict)
    costs: dict[str, list[Cost]] = field(default_factory=dict)
    tracebacks: list[str] = field(default_factory=list)
    """Of the failures, for a log."""
    model_failure: ModelFailure | None = None
    """If set, no sample was tried and there are no records: the samples are not to blame."""

    @classmethod
    def all_failed(cls, request: Request, reason: Reason, detail: str) -> Self:
        """The result where no sample of a request has an answer; none of them has a cost."""
        failed = [
            Prediction.unanswered(
                "failed",
                reason,
                detail,
                **identity(sample),
            )
            for sample in request.samples
        ]
        return cls(
            {label: list(failed) for label in request.configs},
            {label: [] for label in request.configs},
        )


class Pool(Protocol):
    """Workers that answer requests."""

    def run(
        self, take: Callable[[int], Request | None], *, poll: float | None = None
    ) -> Iterator[tuple[Request, ContextResult]]:
        """Answer requests until there is none; results come in the order of completion.

        ``take`` gives a worker that is free its next request, or None; it is asked again whenever
        one is done, and every ``poll`` seconds if that is given.
        """
        ...


PoolFactory = Callable[[Devices, AdapterConfig], AbstractContextManager[Pool]]
"""Makes a pool with a worker on each device; its workers end with the context."""
