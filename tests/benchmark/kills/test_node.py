"""A node of a cluster is taken away while its workers answer: no sample is lost."""

from __future__ import annotations

from pathlib import Path

import pytest
import ray
import toy_run
from folders import contents
from local_pool import LocalPool

from benchmark.executor import BenchmarkExecutor
from benchmark.run.workers import WorkerPool


@pytest.mark.timeout(400)
def test_a_node_is_removed(
    tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kills: int | None
) -> None:
    if kills is None:
        pytest.skip("starting a cluster takes half a minute; --kills 1 runs it")
    from ray.cluster_utils import Cluster

    assert not ray.is_initialized()
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    nodes = [cluster.add_node(num_cpus=1)]

    class RemovesOne(WorkerPool):
        def run(self, take, *, poll=None):
            for number, answered in enumerate(super().run(take, poll=poll)):
                if number == 2:
                    cluster.remove_node(nodes.pop(), allow_graceful=False)
                yield answered

    monkeypatch.setenv("RAY_ADDRESS", cluster.address)
    matrix = [str(tiny_model)], toy_run.CONFIGS, [toy_run.BENCHMARK]
    try:
        removed = BenchmarkExecutor([], tmp_path / "removed", 4, quiet=True, pool=RemovesOne)
        assert removed.run_benchmark_matrix(*matrix).exit_code == 0
    finally:
        cluster.shutdown()
    assert not nodes, "it was to be removed before the end"
    whole = BenchmarkExecutor([], tmp_path / "whole", quiet=True, pool=LocalPool)
    assert whole.run_benchmark_matrix(*matrix).exit_code == 0
    assert contents(tmp_path / "removed") == contents(tmp_path / "whole")
