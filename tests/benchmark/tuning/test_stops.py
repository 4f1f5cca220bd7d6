"""Searches that end before their time: given up, out of time, killed."""

from __future__ import annotations

from pathlib import Path

import pytest
from local_pool import LocalPool
from toy_search import TASKS, search

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
