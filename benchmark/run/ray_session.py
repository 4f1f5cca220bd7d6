"""Ray for as long as it is needed, and whether it still lives."""

from __future__ import annotations

import logging
import os
import secrets
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmark.run.devices import cpu_count
from benchmark.run.errors import RunStopped
from benchmark.run.ray_address import find_cluster
from benchmark.run.ray_folder import open_ray_folder

_TRIALS = "sparse_bench_trial"
"""Ray resource of which a trial's process takes one, so that there are few of them."""
_SECONDS_TO_ANSWER = 30.0
"""After which a cluster that was asked for its nodes counts as gone."""
_ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    # Else Ray hides the GPUs from actors that ask it for none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    # Else Ray warns of processes that it thinks are too many for a machine without CPUs.
    "RAY_worker_maximum_startup_concurrency": "16",
    # Else workers, which the run waits for, stand behind all else on a busy machine.
    "RAY_worker_niceness": "0",
    # Else Ray packs the whole working directory where the program was started by `uv run`.
    "RAY_ENABLE_UV_RUN_RUNTIME_ENV": "0",
}


# Else, where the local raylet is dead, Ray ends a process that init has adopted, as after `nohup`,
# at its next call and without a word.  It is read when Ray is imported.
os.environ.setdefault("RAY_RAYLET_PID", str(os.getpid()))

_holders = 0
_started: ExitStack | None = None
"""Ends the Ray that was started here."""


@contextmanager
def hold_ray() -> Iterator[None]:
    """Keep a Ray that ``start_ray`` starts inside until the outermost of these blocks ends."""
    global _holders, _started
    _holders += 1
    try:
        yield
    finally:
        _holders -= 1
        if _started is not None and not _holders:
            ending, _started = _started, None
            ending.close()


def before_shutdown(end: Callable[[], object]) -> None:
    """Call ``end`` before the Ray that ``start_ray`` started is shut down."""
    if _started is not None:
        _started.callback(end)


def start_ray() -> None:
    """Start Ray on this machine unless it runs; ``RAY_ADDRESS`` names a cluster to join instead.

    Raises:
        UserError: if there is no such cluster, or no room for Ray's files.
        RunStopped: if Ray does not start.
    """
    global _started
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    # Ray reads the variable when it is imported, which may have been earlier.
    constants = sys.modules.get("ray._private.ray_constants")
    if constants is not None:
        constants.RAY_ENABLE_UV_RUN_RUNTIME_ENV = False  # type: ignore[attr-defined]
    import ray

    if ray.is_initialized():
        return
    cluster = find_cluster()
    with ExitStack() as stack:
        where: dict[str, Any] = {"address": cluster}
        if cluster is None:
            folder, removal = open_ray_folder()
            stack.push(removal)
            where = {
                "address": "local",
                "_temp_dir": str(folder),
                # No CPUs for Ray to hand out, so it starts no processes that nobody uses.
                "num_cpus": 0,
                "num_gpus": 0,
                "resources": {_TRIALS: max(2, cpu_count())},
                "include_dashboard": False,
                "object_store_memory": 256 << 20,
            }
            _make_token()
        stack.callback(ray.shutdown)
        try:
            with _same_signals():
                ray.init(**where, logging_level=logging.ERROR, log_to_driver=False)
        except Exception as error:  # of any class: Ray raises plain ones too
            lines = str(error).strip().splitlines() or [type(error).__name__]
            raise RunStopped(f"Ray does not start: {lines[-1]}") from error
        _started = stack.pop_all()


@contextmanager
def _same_signals() -> Iterator[None]:
    """Keep what SIGTERM means in this process, which Ray changes: to a stack dump and an abort."""
    earlier = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, earlier or signal.SIG_DFL)


def _make_token() -> None:
    """Spare Ray to keep the secret of its processes in a home that cannot be written."""
    place = Path(os.path.expanduser("~")) / ".ray"
    if place.exists() or os.access(place.parent, os.W_OK):
        return
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(16))


def check_ray() -> None:
    """Notice that Ray has gone, where its own calls would wait without an end.

    Raises:
        RunStopped: if it has.
    """
    import ray

    node = ray._private.worker._global_node
    if node is None:
        raise RunStopped("Ray was shut down while it was needed; run again to go on.")
    dead = {str(kind) for kind, _ in node.dead_processes()} & {"raylet", "gcs_server"}
    if dead:
        raise RunStopped(
            f"Ray's own process ({', '.join(sorted(dead))}) has ended: it was killed, perhaps "
            "because the machine is short of memory. What was answered is kept, run again to go on."
        )
    if not node.live_processes():
        _check_cluster()


def _check_cluster() -> None:
    """``check_ray`` of a cluster that was joined."""
    import ray

    alive: list[bool] = []

    def ask() -> None:
        here = ray.get_runtime_context().get_node_id()
        alive.append(any(node["NodeID"] == here and node["Alive"] for node in ray.nodes()))

    # The call has no time limit of its own.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(_SECONDS_TO_ANSWER)
    if alive != [True]:
        raise RunStopped(
            "the Ray cluster does not answer any more, or this machine is no longer a part of it. "
            "What was answered is kept, run again to go on."
        )


def trial_resources() -> dict[str, float]:
    """What the process of a trial asks Ray for; Ray must run.

    In a Ray that was not started here: a CPU, or a byte of memory where it has none.
    """
    import ray

    total = ray.cluster_resources()
    if _TRIALS in total:
        return {_TRIALS: 1}
    return {"CPU": 1} if total.get("CPU") else {"memory": 1}


def python_path() -> tuple[str, ...]:
    """Where a worker finds modules as this process does: first of all these packages."""
    root = str(Path(__file__).resolve().parents[2])
    named = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    return tuple(dict.fromkeys([root, *(os.path.abspath(path) for path in named if path)]))
