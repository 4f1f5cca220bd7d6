"""A real cluster of two raylets: where workers land, and what a node's death and arrival do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import toy_run
from folders import contents
from killer import small_cluster
from local_pool import LocalPool
from ray.cluster_utils import Cluster

import benchmark.executor
from benchmark.console.main import main
from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from benchmark.run.ray_session import hold_ray
from benchmark.run.requests import ContextResult, Request
from benchmark.run.workers import WorkerPool


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    assert not ray.is_initialized()
    made = small_cluster(nodes=1)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    with hold_ray():  # it is joined once
        yield made
    made.shutdown()


@pytest.mark.timeout(900)  # on a machine that does much else a worker starts in a minute
def test_a_node_is_removed_and_another_joins(
    cluster: Cluster,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    kills: int | None,
) -> None:
    """The first is in every run of the tests, the second with ``--kills``."""
    model = ["--models", str(tiny_model), "--benchmarks", "toy", "--subsets", "first"]
    words = ["run", *model, "--gpu-ids", "--results-dir", str(tmp_path / "refused")]

    def refused(*more: str) -> str:
        assert main([*words, *more]) == 2
        assert not (tmp_path / "refused").exists()
        return capsys.readouterr().err

    assert "room for 2; ask for fewer" in refused("--workers", "3")
    gpus = [word for word in words if word != "--gpu-ids"]
    assert main([*gpus, "--workers", "2", "--gpus-per-worker", "4"]) == 2
    assert "2 worker(s) of 4 GPU(s) each" in capsys.readouterr().err

    changes = [lambda node: cluster.remove_node(node, allow_graceful=False)]
    if kills is not None:
        changes.append(lambda _: cluster.add_node(num_cpus=1))
    together: list[set[str]] = []
    """Nodes whose workers were there at once, before each change and at last."""

    class Disturbed(WorkerPool):
        def run(self, take, *, poll=None) -> Iterator[tuple[Request, ContextResult]]:
            for answered in super().run(take, poll=poll):
                nodes = {place.machine.node for place in self._places if place.machine}
                if len(together) <= len(changes):
                    time.sleep(2)  # a worker may start, or its end be noticed, late
                    if len(nodes) == (1 if len(together) == 1 else 2):
                        together.append(nodes)
                        for change in changes[len(together) - 1 :][:1]:
                            change(next(iter(cluster.worker_nodes), None))
                yield answered

    monkeypatch.setattr(benchmark.executor, "WorkerPool", Disturbed)
    benchmark_config = BenchmarkConfig("toy", ["first", "second"], {"contexts": 40})
    matrix = [str(tiny_model)], toy_run.CONFIGS, [benchmark_config]
    removed = BenchmarkExecutor([], tmp_path / "removed", quiet=True)
    assert removed.run_benchmark_matrix(*matrix).exit_code == 0
    assert len(together) == len(changes) + 1
    assert together[1] < together[0], "the node that is left"
    if kills is not None:
        assert together[1] < together[2] != together[0], "and one that came late"
    whole = BenchmarkExecutor([], tmp_path / "whole", quiet=True, pool=LocalPool)
    assert whole.run_benchmark_matrix(*matrix).exit_code == 0
    assert contents(tmp_path / "removed") == contents(tmp_path / "whole")
