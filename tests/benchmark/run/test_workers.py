"""The pool's decisions, with actors that a test answers for; Ray itself is in ``test_executor``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import ray
from toy_benchmark import Toy

from benchmark.executor_config import AdapterConfig
from benchmark.run import workers
from benchmark.run.deaths import is_for_memory
from benchmark.run.devices import Devices
from benchmark.run.errors import RunStopped
from benchmark.run.node_facts import NodeFacts, software
from benchmark.run.requests import ContextResult, ModelFailure, Request
from benchmark.run.workers import WorkerPool
from sparse_attention.config_types import make_config
from sparse_attention.prompt import PromptSettings

DIED = ray.exceptions.ActorDiedError()
GONE = ray.exceptions.ActorUnavailableError("socket closed", None)
CLUSTER = Devices("cpu", 2, 1)


class FakeRay:
    """Stands in for Ray: references are numbers, and ``fates`` say what becomes of answers."""

    def __init__(self, nodes: list[str]) -> None:
        self.nodes = nodes
        self.alive = set(nodes)
        self.results: dict[int, Any] = {}
        self.sent: list[tuple[str, Request]] = []
        self.fates: dict[str, list[Any]] = {}
        """By sample: what its first answers are; results afterwards."""
        self.started = 0
        self.loading: Any = None
        """What comes of loading a model."""

    def put(self, result: Any) -> int:
        self.results[len(self.results)] = result
        return len(self.results) - 1

    def get(self, reference: int, timeout: float | None = None) -> Any:
        found = self.results[reference]
        if isinstance(found, Exception):
            raise found
        return found

    def wait(
        self, references: list[int], timeout: float, num_returns: int = 1
    ) -> tuple[list[int], list[int]]:
        # The newest first: in no order that a pool could rely on.
        ready = sorted(references, reverse=True)[:num_returns]
        return ready, [one for one in references if one not in ready]


class FakeActor:
    def __init__(self, fake: FakeRay, number: int) -> None:
        self._fake = fake
        self.node = fake.nodes[fake.started % len(fake.nodes)]
        fake.started += 1
        self.starting = fake.put(NodeFacts(self.node, self.node, software(), 0, {}))

    def send(self, attempt: Any) -> int:
        request = attempt.request
        self._fake.sent.append((self.node, request))
        attempt.loading = self._fake.put(self._fake.loading)
        fates = self._fake.fates.get(request.samples[0].id, [])
        return self._fake.put(fates.pop(0) if fates else ContextResult())

    def end(self) -> None:
        pass


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    made = FakeRay(["one", "two"])
    monkeypatch.setattr(workers, "WorkerActor", lambda _, __, number: FakeActor(made, number))
    monkeypatch.setattr(workers, "start_ray", lambda: None)
    monkeypatch.setattr(workers, "check_ray", lambda: None)
    monkeypatch.setattr(
        workers, "living_nodes", lambda: [type("N", (), {"name": n}) for n in made.alive]
    )
    monkeypatch.setattr(ray, "get", made.get)
    monkeypatch.setattr(ray, "wait", made.wait)
    return made


def requests(count: int) -> list[Request]:
    samples = Toy(contexts=count, questions=1).samples("first", None)
    configs = {f"c{number}": make_config("dense") for number in range(5)}
    return [
        Request("task", "model", None, (sample,), configs, PromptSettings(), "scope")
        for sample in samples
    ]


def answered(devices: Devices, wanted: list[Request]) -> list[tuple[Request, ContextResult]]:
    waiting = iter(wanted)
    with WorkerPool(devices, AdapterConfig()) as pool:
        return list(pool.run(lambda _: next(waiting, None)))


def test_a_worker_that_answers_at_once_hides_no_other(fake: FakeRay) -> None:
    answered(CLUSTER, requests(6))
    nodes = [node for node, _ in fake.sent]
    assert nodes.count("one") == nodes.count("two") == 3


def test_a_retry_goes_to_another_machine_and_comes_last(fake: FakeRay) -> None:
    wanted = requests(4)
    fake.fates = {"first-0-0": [DIED]}
    found = answered(CLUSTER, wanted)
    assert {request.samples[0].id for request, _ in found} == {f"first-{n}-0" for n in range(4)}
    tried = [(node, one.samples[0].id) for node, one in fake.sent if one is wanted[0]]
    assert [name for _, name in tried] == ["first-0-0"] * 2
    assert len({node for node, _ in tried}) == 2
    assert fake.sent[-1][1] is wanted[0]
    assert all(one.max_rows is None for _, one in fake.sent), "it was not for memory"


def test_the_death_of_a_machine_is_no_fault_of_samples(fake: FakeRay) -> None:
    fake.fates = {"first-0-0": [GONE] * 5}
    ((_request, result), *_) = [
        pair for pair in answered(CLUSTER, requests(1)) if pair[0].samples[0].id == "first-0-0"
    ]
    assert result.predictions == {}, "answered, not given up"
    assert len(fake.sent) == 6
    fake.alive.clear()
    fake.fates = {"first-0-0": [DIED] * 30}
    assert len(answered(CLUSTER, requests(1))) == 1
    assert len(fake.sent) == 6 + 31


def test_samples_that_kill_workers_are_given_up(fake: FakeRay) -> None:
    fake.fates = {"first-0-0": [DIED] * 9}
    results = {request.samples[0].id: result for request, result in answered(CLUSTER, requests(3))}
    (failed, *_) = results["first-0-0"].predictions["c0"]
    assert failed.reason == "worker_died"
    assert len([one for _, one in fake.sent if one.samples[0].id == "first-0-0"]) == 5


def test_where_all_workers_die_the_run_ends(fake: FakeRay) -> None:
    fake.fates = {f"first-{number}-0": [DIED] * 99 for number in range(20)}
    with pytest.raises(RunStopped, match="10 workers died"):
        answered(CLUSTER, requests(20))


def test_where_no_worker_can_load_the_model_the_run_ends(fake: FakeRay) -> None:
    fake.fates, fake.loading = {"first-0-0": [DIED] * 99}, DIED
    with pytest.raises(RunStopped, match="10 workers died"):
        answered(CLUSTER, requests(1))


def test_a_worker_that_took_too_much_memory_is_followed_by_fewer_rows(fake: FakeRay) -> None:
    killed = ray.exceptions.OutOfMemoryError("killed: the node is running low on memory")
    assert is_for_memory(killed)
    assert not is_for_memory(DIED)
    fake.fates = {"first-0-0": [killed, killed]}
    answered(CLUSTER, requests(1))
    assert [one.max_rows for _, one in fake.sent] == [None, 3, 2]


def test_a_machine_without_the_model_gets_no_work(
    fake: FakeRay, caplog: pytest.LogCaptureFixture
) -> None:
    lacking = ContextResult(model_failure=ModelFailure("no such folder", by_user=True))
    fake.fates = {"first-3-0": [lacking]}
    wanted = requests(6)
    found = answered(replace(CLUSTER, workers=1), wanted[:1])
    assert len(found) == 1
    found = answered(CLUSTER, wanted)
    assert len(found) == 6
    assert all(result.model_failure is None for _, result in found)
    assert "lacks model: no such folder; it gets no work" in caplog.text


def test_a_machine_with_other_software_gets_no_work(
    fake: FakeRay, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(
        workers, "software_problem", lambda facts: "other software" * (facts.node == "two") or None
    )
    assert len(answered(CLUSTER, requests(5))) == 5
    assert {node for node, _ in fake.sent} == {"one"}
    assert "two has other software; it gets no work" in caplog.text
