"""Searches that end before their time: given up, out of time, killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import toy_search
from local_pool import LocalPool
from toy_search import TASKS, TYPES, search

from benchmark.run.ray_session import hold_ray


@pytest.fixture(scope="module", autouse=True)
def ray_for_all():
    with hold_ray():
        yield


def test_a_trial_that_takes_too_long_is_given_up(tiny_model: Path, tmp_path: Path):
    found = search(str(tiny_model), str(tmp_path), pool=LocalPool, timeout_per_trial=1e-3)
    for optimized in found.values():
        assert not optimized.results
        assert "no result after 0.001 s" in optimized.failures["toy_first"]


def test_a_search_ends_with_its_time(tiny_model: Path, tmp_path: Path):
    found = search(str(tiny_model), str(tmp_path), pool=LocalPool, time_limit=1e-3)
    assert all(set(optimized.failures) == TASKS for optimized in found.values())
    found = search(str(tiny_model), str(tmp_path), pool=LocalPool)
    assert all(set(optimized.results) == TASKS for optimized in found.values())


@pytest.mark.timeout(900)  # three searches, two of them started anew
def test_killed_searches_go_on(tiny_model: Path, tmp_path: Path):
    """SIGKILL at two moments; what was evaluated stays, and the search ends as it should."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, toy_search.__file__, str(tiny_model), str(tmp_path)]

    def lines() -> int:
        return sum(path.read_bytes().count(b"\n") for path in tmp_path.rglob("*.jsonl"))

    before = 0
    for more in (5, 60):
        process = subprocess.Popen(command, env=environment, start_new_session=True)
        while process.poll() is None and lines() < before + more:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was to be killed before its end"
        before = lines()
    kept = {
        path: path.read_bytes()[: path.read_bytes().rfind(b"\n") + 1]
        for path in tmp_path.rglob("*.jsonl")
    }
    found = search(str(tiny_model), str(tmp_path), TYPES[:1], LocalPool)
    for path, content in kept.items():
        assert path.read_bytes().startswith(content)
    for optimized in found.values():
        assert set(optimized.results) == TASKS
        for result in optimized.results.values():
            numbers = [trial["number"] for trial in result.document["trials"]]
            assert numbers == list(range(6))
