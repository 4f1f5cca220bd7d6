"""Which devices workers get, here and in a cluster, and what is refused before any work."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import ray

from benchmark.executor_config import AdapterConfig
from benchmark.run import cluster, devices, room
from benchmark.run.cluster import Node, cluster_devices
from benchmark.run.devices import Devices, choose_devices
from benchmark.run.model_size import model_size
from benchmark.run.models import find_model
from benchmark.run.node_facts import NodeFacts, gather_facts, software, software_problem
from benchmark.run.room import check_devices
from sparse_attention.errors import UserError
from sparse_attention.hf.adapter import HuggingFaceAdapter

GB = 10**9


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_visible_gpus", lambda: ["3", "4", "5", "6", "7"])
    monkeypatch.setattr(devices, "cpu_count", lambda: 16)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("gpu_ids", "workers", "each", "visible", "threads"),
    [
        (None, None, None, ("3", "4", "5", "6", "7"), 3),
        (None, 2, None, ("3", "4"), 8),
        (None, None, 2, ("3,4", "5,6"), 8),
        ([4, 1], None, 1, ("7", "4"), 8),
        ([4, 1], 1, 2, ("7,4",), 16),
    ],
)
def test_gpus_here(gpu_ids, workers, each, visible, threads) -> None:
    found = choose_devices(gpu_ids, workers, each)
    assert (found.kind, found.visible, found.threads) == ("cuda", visible, threads)
    assert found.gpus == len(visible[0].split(","))
    assert found.workers == len(visible)
    assert replace(found.at_most(1), threads=0) == Devices("cuda", 1, 0, found.gpus, (visible[0],))


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, 6, None), r"6 worker\(s\) of 1 GPU\(s\) each were asked for, this machine has 5"),
        ((None, 3, 2), r"3 worker\(s\) of 2 GPU\(s\) each"),
        (([0], None, 2), "has 1 that may be used"),
        (([], None, 1), "has 0 that may be used"),
        ((None, 0, None), "num_workers must be from 1"),
        ((None, None, 0), "gpus_per_worker must be from 1"),
    ],
)
def test_more_gpus_than_there_are(arguments, message: str) -> None:
    with pytest.raises(UserError, match=message):
        choose_devices(*arguments)


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> list[Node]:
    """A head with few cores, and two nodes with GPUs."""
    made = [
        Node("head", "head", cpus=2, gpus=0, memory=4 * GB),
        Node("one", "one", cpus=32, gpus=4, memory=200 * GB),
        Node("two", "two", cpus=32, gpus=4, memory=100 * GB),
    ]
    monkeypatch.setattr(cluster, "living_nodes", lambda: made)
    monkeypatch.setattr(room, "living_nodes", lambda: made)
    monkeypatch.setattr(cluster, "start_ray", lambda: None)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    return made


@pytest.mark.parametrize(
    ("arguments", "workers", "threads", "each", "grows"),
    [
        ((None, None, None), 8, 8, 1, True),
        ((None, 5, None), 5, 8, 1, False),
        ((None, None, 4), 2, 32, 4, True),
        ((None, None, 3), 2, 32, 3, True),
        (([], None, None), 4, 16, 0, True),
        (([], 2, None), 2, 32, 0, False),
        (([], 6, None), 6, 10, 0, False),
        (([], 66, None), 66, 1, 0, False),
    ],
)
def test_a_cluster_is_divided(
    nodes: list[Node], arguments, workers: int, threads: int, each: int, grows: bool
) -> None:
    found = cluster_devices(*arguments)
    assert (found.workers, found.threads, found.gpus) == (workers, threads, each)
    assert found.visible is None
    assert (found.most > workers) == grows
    assert sum(node.holds(found) for node in nodes) >= workers


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1], None, None), "numbers of GPUs of one machine"),
        ((None, 9, 1), r"9 worker\(s\) of 1 GPU\(s\) each were asked for, the cluster has 8"),
        ((None, 1, 5), r"1 worker\(s\) of 5 GPU\(s\) each"),
        (([], 67, None), "room for 66; ask for fewer"),
    ],
)
def test_a_cluster_has_no_room(nodes: list[Node], arguments, message: str) -> None:
    with pytest.raises(UserError, match=message):
        cluster_devices(*arguments)


def test_sizes_are_those_of_the_loaded_model(tiny_model: Path, adapter: HuggingFaceAdapter) -> None:
    size = model_size(find_model(str(tiny_model)), "auto", "cpu")
    assert size is not None
    assert size.weights == sum(p.nbytes for p in adapter.model.parameters())
    assert size.token * 9 == adapter.prefill([5] * 9).kv_nbytes
    half = model_size(find_model(str(tiny_model)), "bfloat16", "cuda")
    assert half is not None
    assert (half.weights, half.token) == (size.weights // 2, size.token // 2)


def test_a_model_that_fits_nowhere(
    tiny_model: Path, nodes: list[Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    model, settings = find_model(str(tiny_model)), AdapterConfig()
    here = choose_devices([], 1)
    assert check_devices(here, [model], settings) == here
    monkeypatch.setattr(room, "total_memory", lambda _: 50_000)
    with pytest.raises(UserError, match=r"needs 0\.0 GB, and the memory here has 0\.0 GB"):
        check_devices(here, [model], settings)
    nodes[:] = [Node("one", "one", cpus=4, gpus=0, memory=GB)]
    with pytest.raises(UserError, match=r"needs 1\.1 GB, and the memory that Ray has on any node"):
        check_devices(cluster_devices([], 1, None), [model], settings)
    nodes[:] = [Node("one", "one", cpus=4, gpus=0, memory=2 * GB)]
    with pytest.raises(UserError, match=r"do not fit into the cluster, only 1 do"):
        check_devices(cluster_devices([], 2, None), [model], settings)


def test_every_node_is_looked_at(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its software and its files, by a report that it makes itself."""

    class Context:
        def get_node_id(self) -> str:
            return "one"

    monkeypatch.setattr(ray, "get_runtime_context", Context)
    model = find_model(str(tiny_model))
    facts = gather_facts([(model, model.identity)])
    assert (facts.node, dict(facts.model_problems)) == ("one", {})
    assert software_problem(facts) is None
    older = replace(facts, software={**software(), "torch": "2.0"})
    assert "torch: '2.0' there" in str(software_problem(older))
    changed = {**model.identity, "files_sha256": "0"}
    (problem,) = gather_facts([(model, changed)]).model_problems.values()
    assert "is another one at" in problem
    gone = replace(model, location=str(tiny_model / "absent"))
    (problem,) = gather_facts([(gone, model.identity)]).model_problems.values()
    assert "cannot be read at" in problem


@pytest.mark.parametrize(
    ("report", "message"),
    [
        (ray.exceptions.WorkerCrashedError(), "node host of the Ray cluster does not answer"),
        (NodeFacts("n", "h", {"torch": "2.0"}, 0, {}), "has other software than here"),
        (
            NodeFacts("n", "h", software(), 0, {"m": "is not there"}),
            "lacks the model 'm', which is",
        ),
    ],
)
def test_a_node_that_cannot_work(
    report: object, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def get(_: object) -> object:
        if isinstance(report, Exception):
            raise report
        return report

    node = Node("n", "host", 1, 0, GB)
    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(cluster, "living_nodes", lambda: [node])
    with pytest.raises(UserError, match=message):
        cluster._facts(None, node)


def test_a_node_that_dies_while_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    def get(_: object) -> object:
        raise ray.exceptions.NodeDiedError("gone")

    monkeypatch.setattr(ray, "get", get)
    monkeypatch.setattr(cluster, "living_nodes", list)
    assert cluster._facts(None, Node("n", "host", 1, 0, GB)) is None
