"""Ray on this machine or in a cluster, as this project starts and uses it."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.run.devices import cpu_count

_TRIALS = "sparse_bench_trial"
"""Ray resource of which a trial's process takes one, so that there are few of them."""


_holders = 0
_started = False
_endings: list[Callable[[], object]] = []


@contextmanager
def hold_ray() -> Iterator[None]:
    """Keep a Ray that ``start_ray`` starts inside until the outermost of these blocks ends."""
    global _holders, _started
    _holders += 1
    try:
        yield
    finally:
        _holders -= 1
        if _started and not _holders:
            import ray

            while _endings:
                _endings.pop()()
            _started = False
            ray.shutdown()


def before_shutdown(end: Callable[[], object]) -> None:
    """Call ``end`` before the Ray that ``start_ray`` started is shut down."""
    _endings.append(end)


def start_ray() -> None:
    """Start Ray on this machine unless it runs; ``RAY_ADDRESS`` names a cluster to join instead."""
    global _started
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # Else Ray hides the GPUs from actors that ask it for none.
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    # Else Ray warns of processes that it thinks are too many for a machine without CPUs.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "16")
    import ray

    if ray.is_initialized():
        return
    common: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
    if os.environ.get("RAY_ADDRESS"):
        ray.init(**common)
    else:
        # No CPUs for Ray to hand out, so it starts no processes that nobody uses.
        ray.init(
            address="local",
            num_cpus=0,
            num_gpus=0,
            resources={_TRIALS: max(2, cpu_count())},
            include_dashboard=False,
            object_store_memory=256 << 20,
            **common,
        )
    _started = True


def trial_resources() -> dict[str, float]:
    """What the process of a trial asks Ray for; Ray must run.

    In a Ray that was not started here: a CPU, or a byte of memory where it has none.
    """
    import ray

    total = ray.cluster_resources()
    if _TRIALS in total:
        return {_TRIALS: 1}
    return {"CPU": 1} if total.get("CPU") else {"memory": 1}


def python_path() -> str:
    """``PYTHONPATH`` under which a worker finds these packages as this process does."""
    root = str(Path(__file__).resolve().parents[2])
    return os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH"))))
