"""Which samples a worker gets, and in which order."""

from __future__ import annotations

from benchmark.run.schedule import ContextQueue
from benchmark.suite.base import Sample


def context(name: str, questions: int, length: int) -> list[Sample]:
    return [
        Sample(f"{name}{number}", name * length, "?", "", (), 1, "task")
        for number in range(questions)
    ]


def names(part: list[Sample] | None) -> list[str]:
    return [] if part is None else [sample.id for sample in part]


def test_the_longest_context_comes_first_and_a_worker_stays_with_its_own() -> None:
    queue = ContextQueue([context("a", 1, 5), context("b", 6, 9), context("c", 2, 7)])
    assert queue.parts == 4
    assert names(queue.take(0)) == ["b0", "b1", "b2", "b3"]
    assert names(queue.take(1)) == ["c0", "c1"]
    assert names(queue.take(0)) == ["b4", "b5"]
    assert names(queue.take(0)) == ["a0"]
    assert queue.take(0) is None
    assert queue.parts == 0


def test_nobody_idles_while_several_parts_of_a_context_wait() -> None:
    queue = ContextQueue([context("a", 14, 5)])
    first = queue.take(0)
    assert names(first) == ["a0", "a1", "a2", "a3"]
    assert names(queue.take(1)) == ["a4", "a5", "a6", "a7"]
    assert names(queue.take(2)) == ["a8", "a9", "a10", "a11"]
    assert queue.take(3) is None, "a second prefill for the last part would not pay"
    assert names(queue.take(0)) == ["a12", "a13"]


def test_the_last_part_goes_to_another_if_its_worker_is_gone() -> None:
    queue = ContextQueue([context("a", 5, 5)])
    part = queue.take(0)
    assert part is not None
    assert queue.take(1) is None
    queue.done(part)  # another one answered it, after worker 0 had died
    assert names(queue.take(1)) == ["a4"]
