"""A real cluster of two raylets: where workers land, and what a node's death and arrival do."""

from __future__ import annotations

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
from benchmark.run.requests import ContextResult, Request
from benchmark.run.workers import WorkerPool


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    assert not ray.is_initialized()
    made = small_cluster(nodes=1)
    monkeypatch.setenv("RAY_ADDRESS", made.address)
    yield made
    made.shutdown()


@pytest.mark.timeout(400)
def test_a_node_is_removed_and_another_joins(
    cluster: Cluster,
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
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

    seen: list[set[str]] = []

    class Disturbed(WorkerPool):
        def run(self, take, *, poll=None) -> Iterator[tuple[Request, ContextResult]]:
            for number, answered in enumerate(super().run(take, poll=poll)):
                if number == 2:
                    first = next(iter(cluster.worker_nodes))
                    cluster.remove_node(first, allow_graceful=False)
                if number == 5:
                    cluster.add_node(num_cpus=1)
                seen.append({place.machine.node for place in self._places if place.machine})
                yield answered

    monkeypatch.setattr(benchmark.executor, "WorkerPool", Disturbed)
    matrix = [str(tiny_model)], toy_run.CONFIGS, [toy_run.BENCHMARK]
    removed = BenchmarkExecutor([], tmp_path / "removed", quiet=True)
    assert removed.run_benchmark_matrix(*matrix).exit_code == 0
    assert max(map(len, seen)) <= 2, "two nodes live at a time"
    whole = BenchmarkExecutor([], tmp_path / "whole", quiet=True, pool=LocalPool)
    assert whole.run_benchmark_matrix(*matrix).exit_code == 0
    assert contents(tmp_path / "removed") == contents(tmp_path / "whole")
