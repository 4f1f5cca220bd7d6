"""Workers, raylets and whole nodes die at random moments; results are those of a quiet run.

``--kills N``: until there were so many; without the option nothing is run here.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
import ray
import toy_run
from commands import lines
from folders import contents
from killer import Killer, kill_one, small_cluster, worker_processes
from local_pool import LocalPool

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from benchmark.run.errors import RunStopped
from sparse_attention.errors import UserError

LONG = BenchmarkConfig("toy", ["first", "second"], {"contexts": 150})


@pytest.fixture
def expected(tiny_model: Path, tmp_path: Path, kills: int | None) -> dict[str, object]:
    if kills is None:
        pytest.skip("takes minutes; --kills 20 runs it")
    whole = BenchmarkExecutor([], tmp_path / "whole", quiet=True, pool=LocalPool)
    assert whole.run_benchmark_matrix([str(tiny_model)], toy_run.CONFIGS, [LONG]).exit_code == 0
    return contents(tmp_path / "whole")


def answer(model: Path, folder: Path) -> int:
    executor = BenchmarkExecutor([], folder, quiet=True)
    return executor.run_benchmark_matrix([str(model)], toy_run.CONFIGS, [LONG]).exit_code


@pytest.mark.timeout(36000)
def test_a_cluster_under_fire(
    expected: dict[str, object],
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kills: int | None,
) -> None:
    cluster = small_cluster(nodes=2)

    def worker() -> bool:
        return kill_one(worker_processes(cluster))

    def raylet() -> bool:
        """That of a node; its other processes stay."""
        if not cluster.worker_nodes:
            return False
        chosen = random.choice(sorted(cluster.worker_nodes, key=lambda each: each.node_id))
        chosen.kill_raylet()
        cluster.add_node(num_cpus=1)
        return True

    def node() -> bool:
        if not cluster.worker_nodes:
            return False
        chosen = random.choice(sorted(cluster.worker_nodes, key=lambda each: each.node_id))
        cluster.remove_node(chosen, allow_graceful=False)
        cluster.add_node(num_cpus=1)
        return True

    def head() -> bool:
        """The raylet of the machine that the run is on, which ends the run."""
        cluster.head_node.kill_raylet()
        return True

    left, rounds = kills or 20, 0
    try:
        while left > 0:
            rounds += 1
            folder, finished = tmp_path / f"round-{rounds}", False
            while not finished:
                monkeypatch.setenv("RAY_ADDRESS", cluster.address)
                killing = Killer(
                    [worker, worker, raylet, node, head], lambda: random.uniform(3, 12), most=left
                )
                killing.start()
                try:
                    finished = answer(tiny_model, folder) == 0
                except (RunStopped, UserError) as stopped:  # also while the nodes are looked at
                    print(f"round {rounds}: {stopped}")
                killing.stop()
                print(f"round {rounds}: {killing.done}, {'finished' if finished else 'again'}")
                left -= len(killing.done)
                if "head" in killing.done:
                    assert not ray.is_initialized()
                    cluster.shutdown()
                    cluster = small_cluster(nodes=2)
            assert contents(folder) == expected, f"round {rounds}"
    finally:
        cluster.shutdown()


@pytest.mark.timeout(3600)
def test_a_worker_dies_every_8_seconds(
    expected: dict[str, object], tiny_model: Path, tmp_path: Path
) -> None:
    """No sample is given up: nothing is wrong with any.

    On a machine so busy that nothing is answered in 8 seconds, they die as soon as something was.
    """
    seen = [0]

    def worker() -> bool:
        answered = lines(tmp_path / "killed")
        if answered == seen[0] or not kill_one(worker_processes()):
            return False
        seen[0] = answered
        return True

    killing = Killer([worker], lambda: 8.0)
    killing.start()
    assert answer(tiny_model, tmp_path / "killed") == 0
    killing.stop()
    assert killing.done
    assert contents(tmp_path / "killed") == expected
