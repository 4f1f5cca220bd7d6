from __future__ import annotations

import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

# Before torch is imported, here and in processes that tests start.  The models are too small to
# gain by a second thread, and where tests run at once, two threads spin while they wait for each
# other: on a busy machine of two cores a small evaluation took 54 s with two, 2 s with one.
os.environ["OMP_NUM_THREADS"] = "1"
# On a processor its interpreter runs the kernels; Triton sees so when something first imports it.
if os.environ.get("SPARSE_BENCH_TEST_DEVICE", "cpu") == "cpu":
    os.environ.setdefault("TRITON_INTERPRET", "1")

# Tests kill processes, but none cuts the power: what was written stays without a wait for the disk.
os.fsync = lambda descriptor: None

# How long an example takes depends on what else the machine does.
settings.register_profile("untimed", deadline=None, max_examples=30)
settings.load_profile("untimed")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-examples", type=int, help="examples of each test in tests/fuzz")
    parser.addoption("--real-prompts", type=int, help="prompts in tests/real_model; 0: a few")
    parser.addoption("--every-architecture", action="store_true", help="of docs/models.md")
    parser.addoption("--kills", type=int, help="in tests/benchmark/kills; 0: all")


def pytest_configure(config: pytest.Config) -> None:
    long = config.getoption("--fuzz-examples")
    settings.register_profile(
        "fuzz",
        max_examples=long or 8,
        derandomize=not long,
        database=None,
        deadline=None,
        # A file is written and read for each example, which is the point.
        suppress_health_check=list(HealthCheck),
    )


def pytest_collection_finish() -> None:
    # Modules and tests live to the end: a collection of garbage need not walk through them.
    gc.freeze()


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose packages can be imported; after the test it is as if none had been."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    packages = {path.name for path in folder.iterdir()}
    for name in list(sys.modules):
        if name.partition(".")[0] in packages:
            del sys.modules[name]
