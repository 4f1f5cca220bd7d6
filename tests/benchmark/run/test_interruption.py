from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_run
from local_pool import LocalPool
from toy_run import BENCHMARK, CONFIGS

from benchmark.executor import BenchmarkExecutor
from benchmark.run.matrix import MatrixResult
from benchmark.run.requests import PoolFactory


@pytest.fixture
def run(tiny_model: Path):
    def run_in(folder: Path, pool: PoolFactory = LocalPool) -> MatrixResult:
        return BenchmarkExecutor([], folder, quiet=True, pool=pool).run_benchmark_matrix(
            [str(tiny_model)], CONFIGS, [BENCHMARK]
        )

    return run_in


def start(model: Path, folder: Path) -> subprocess.Popen:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "TOY_PAUSE": "0.03",
    }
    command = [sys.executable, toy_run.__file__, str(model), str(folder)]
    return subprocess.Popen(command, env=environment)


def contents(folder: Path) -> dict[str, object]:
    """Everything that must not depend on interruptions: all files but times."""
    files: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if path.name == "metrics.json":
            metrics = json.loads(path.read_bytes())
            metrics["costs"] = metrics["costs"]["samples"]
            del metrics["check"]
            files[name] = metrics
        elif path.name == "costs.jsonl":
            files[name] = [json.loads(line)["id"] for line in path.read_bytes().splitlines()]
        elif path.is_file() and not path.name.endswith(".lock"):
            files[name] = path.read_bytes()
    return files


def lines(folder: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in folder.rglob("predictions.jsonl"))


def test_killed_again_and_again(tiny_model: Path, tmp_path: Path, run) -> None:
    undisturbed = run(tmp_path / "undisturbed")
    assert undisturbed.exit_code == 0
    rng = random.Random(int(os.environ.get("KILL_SEED", "0")))
    folder = tmp_path / "killed"
    progress = [0]
    for _ in range(2):
        process = start(tiny_model, folder)
        while process.poll() is None and lines(folder) < progress[-1] + rng.randint(1, 40):
            time.sleep(0.005)
        time.sleep(rng.random() * 0.05)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was to be killed before its end"
        progress.append(lines(folder))
    assert 0 < progress[1] < progress[2] < 120
    torn = next(iter(sorted(folder.rglob("edges-*/predictions.jsonl"))))
    torn.write_bytes(torn.read_bytes()[:-20])
    before = LocalPool.requests
    assert run(folder).exit_code == 0
    assert LocalPool.requests - before <= 20 - progress[2] // 6 + 2, "most were kept"
    assert contents(folder) == contents(tmp_path / "undisturbed")
    before = LocalPool.requests
    assert run(folder).exit_code == 0
    assert LocalPool.requests == before, "a finished matrix needs no model"


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
