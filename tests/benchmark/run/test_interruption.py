from __future__ import annotations

from pathlib import Path

import pytest
from folders import contents
from local_pool import LocalPool
from toy_run import CONFIGS

from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from benchmark.run.requests import PoolFactory
from benchmark.run.result import MatrixResult

BENCHMARK = BenchmarkConfig("toy", ["first", "second"], {"contexts": 4})


@pytest.fixture
def run(tiny_model: Path):
    def run_in(folder: Path, pool: PoolFactory = LocalPool) -> MatrixResult:
        return BenchmarkExecutor([], folder, quiet=True, pool=pool).run_benchmark_matrix(
            [str(tiny_model)], CONFIGS, [BENCHMARK]
        )

    return run_in


def test_another_order_of_completion_gives_the_same_files(tmp_path: Path, run) -> None:
    class Backwards(LocalPool):
        def run(self, take):
            return reversed(list(super().run(take)))

    run(tmp_path / "one")
    run(tmp_path / "other", Backwards)
    assert contents(tmp_path / "one") == contents(tmp_path / "other")


def test_what_is_left_is_computed_with_the_same_threads(
    tmp_path: Path, run, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    class Recording(LocalPool):
        def __init__(self, devices, settings):
            seen.append(devices)
            super().__init__(devices, settings)

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    run(tmp_path, Recording)
    for path in tmp_path.rglob("predictions.jsonl"):
        if path.parent.parent.name == "second":
            path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-2]))
            (path.parent / "metrics.json").unlink()
    run(tmp_path, Recording)
    assert seen[1].workers == 1 < seen[0].workers
    assert seen[1].threads == seen[0].threads
