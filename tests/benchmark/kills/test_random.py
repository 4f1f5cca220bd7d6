"""Workers, raylets and whole nodes die at random moments; results are those of a quiet run.

``--kills N``: until there were so many; without the option nothing is run here.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
import ray
import toy_run
from commands import lines
from folders import contents
from killer import Killer, kill_a_node, kill_a_raylet, kill_one, small_cluster, worker_processes
from local_pool import LocalPool
from ray.cluster_utils import Cluster

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from benchmark.run.errors import RunStopped
from sparse_attention.errors import UserError

LONG = BenchmarkConfig("toy", ["first", "second"], {"contexts": 60})
SECONDS_TO_END = 90.0
"""For a run whose raylet is killed to notice it: two of its looks, an answer of Ray, its end."""


@pytest.fixture(scope="module")
def expected(
    tiny_model: Path, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> dict[str, object]:
    if request.config.getoption("--kills") is None:
        pytest.skip("takes minutes; --kills 20 runs it")
    folder = tmp_path_factory.mktemp("whole") / "results"
    whole = BenchmarkExecutor([], folder, quiet=True, pool=LocalPool)
    assert whole.run_benchmark_matrix([str(tiny_model)], toy_run.CONFIGS, [LONG]).exit_code == 0
    return contents(folder)


def answer(model: Path, folder: Path) -> int:
    executor = BenchmarkExecutor([], folder, quiet=True)
    return executor.run_benchmark_matrix([str(model)], toy_run.CONFIGS, [LONG]).exit_code


class Fire:
    """What can be killed of a cluster; the one that was made last."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.head_died: float | None = None
        """When."""

    def kinds(self) -> list[Callable[[], bool]]:
        return [*[self.worker] * 4, *[self.raylet] * 2, *[self.node] * 2, self.head]

    def worker(self) -> bool:
        return kill_one(worker_processes(self.cluster))

    def raylet(self) -> bool:
        return kill_a_raylet(self.cluster)

    def node(self) -> bool:
        return kill_a_node(self.cluster)

    def head(self) -> bool:
        """The raylet of the machine that the run is on, which ends the run."""
        if self.head_died is not None:
            return False
        self.head_died = time.monotonic()
        self.cluster.head_node.kill_raylet()
        return True


@pytest.mark.timeout(36000)
def test_a_cluster_under_fire(
    expected: dict[str, object],
    tiny_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    kills: int | None,
) -> None:
    fire = Fire(small_cluster(nodes=2))
    done: Counter[str] = Counter()
    wanted, rounds = kills or 20, 0
    try:
        while done.total() < wanted:
            rounds += 1
            folder, finished = tmp_path / f"round-{rounds}", False
            while not finished:
                monkeypatch.setenv("RAY_ADDRESS", fire.cluster.address)
                rest = wanted - done.total()
                killing = Killer(fire.kinds(), lambda: random.uniform(3, 12), most=rest)
                killing.start()
                why = ""
                try:
                    finished = answer(tiny_model, folder) == 0
                except (RunStopped, UserError) as stopped:  # also while the nodes are looked at
                    why = str(stopped)
                ended = time.monotonic()
                killing.stop()
                done.update(killing.done)
                print(f"round {rounds}: {dict(done)}, {'finished' if finished else why}")
                if fire.head_died is not None:
                    assert finished or ended - fire.head_died < SECONDS_TO_END
                    assert not ray.is_initialized()
                    fire.cluster.shutdown()
                    fire = Fire(small_cluster(nodes=2))
            assert contents(folder) == expected, f"round {rounds}"
    finally:
        fire.cluster.shutdown()
    print(f"killed: {dict(done)}; {rounds} rounds")


@pytest.mark.timeout(3600)
def test_a_worker_dies_every_8_seconds(
    expected: dict[str, object], tiny_model: Path, tmp_path: Path
) -> None:
    """No sample is given up: nothing is wrong with any.

    The first one as soon as something was answered; on a machine so busy that nothing is answered
    in 8 seconds, the next one when something was.
    """
    seen, next_one = 0, 0.0

    def worker() -> bool:
        nonlocal seen, next_one
        answered, now = lines(tmp_path / "killed"), time.monotonic()
        if answered == seen or now < next_one or not kill_one(worker_processes()):
            return False
        seen, next_one = answered, now + 8
        return True

    killing = Killer([worker], lambda: 0.2)
    killing.start()
    assert answer(tiny_model, tmp_path / "killed") == 0
    killing.stop()
    assert killing.done
    assert contents(tmp_path / "killed") == expected
