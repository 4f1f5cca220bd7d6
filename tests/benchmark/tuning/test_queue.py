"""A context stays with the worker that has its prefill, unless that worker is gone."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

from toy_benchmark import Toy

from benchmark.run.requests import ContextResult, Request
from benchmark.suite.base import by_context
from benchmark.tuning.queue import EvaluationQueue, Want
from sparse_attention.config_types import make_config
from sparse_attention.prompt import PromptSettings

CONTEXTS = tuple(tuple(c) for c in by_context(Toy(contexts=2, questions=1).samples("first", None)))


class Task:
    """What a queue asks of a ``TuningTask``."""

    name = "toy_first"

    def __init__(self) -> None:
        self.done: set[tuple[str, str]] = set()
        self.task = SimpleNamespace(id="id", request=self._request)

    def _request(self, context: Any, configs: Any) -> Request:
        return Request("id", "model", None, tuple(context), configs, PromptSettings(), "")

    def has(self, name: str, context: Any) -> bool:
        return (name, context[0].id) in self.done

    def add(self, name: str, predictions: Any, costs: Any) -> None:
        assert len(costs) == len(predictions)
        self.done |= {(name, one) for one in predictions}


def wants(task: Any, *names: str) -> list[Want]:
    return [Want(task, name, make_config("dense"), CONTEXTS) for name in names]


def answered(queue: EvaluationQueue, request: Request | None) -> None:
    assert request is not None
    ids: Any = [sample.id for sample in request.samples]
    each = dict.fromkeys(request.configs, ids)
    queue.record(request, ContextResult(each, costs=each))


def first(request: Request | None) -> str | None:
    return None if request is None else request.samples[0].id


def test_a_context_goes_on_where_its_prefill_is() -> None:
    queue, task = EvaluationQueue(), Task()
    one, other = queue.take(0, wants(task, "a")), queue.take(1, wants(task, "a"))
    assert {first(one), first(other)} == {"first-0-0", "first-1-0"}
    answered(queue, one)
    answered(queue, other)
    only = [replace(want, contexts=CONTEXTS[:1]) for want in wants(task, "b")]
    its, others = (0, 1) if first(one) == "first-0-0" else (1, 0)
    for _ in range(3):  # whoever is idle is asked in turn
        assert queue.take(its, wants(task, "a")) is None
        assert queue.take(others, only) is None, "it would read the context again"
    assert first(queue.take(its, only)) == "first-0-0"
    assert queue.take(others, only) is None


def test_contexts_of_a_worker_that_is_gone_go_to_others() -> None:
    queue, task = EvaluationQueue(), Task()
    one, other = queue.take(0, wants(task, "a")), queue.take(1, wants(task, "a"))
    answered(queue, other)
    assert queue.take(1, wants(task, "a")) is None, "it is being answered"
    answered(queue, one)
    answered(queue, queue.take(1, wants(task, "b")))
    # Worker 0 has nothing to do, and has not asked since worker 1 asked last.
    assert first(queue.take(1, wants(task, "b"))) == first(one)
