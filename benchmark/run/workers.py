"""The pool of workers on Ray: who gets which request, and what is done when one dies."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Any, Self

from benchmark.executor_config import AdapterConfig
from benchmark.run import worker_process
from benchmark.run.devices import Devices
from benchmark.run.errors import RunStopped
from benchmark.run.ray_session import check_ray, hold_ray, python_path, start_ray
from benchmark.run.requests import ContextResult, Request

logger = logging.getLogger(__name__)

_DEATHS_OF_A_REQUEST = 5
"""Workers that may die while they answer a request before its samples are to blame: others may kill
them, and take the memory that they need.  Each death costs a new process that loads the model."""
_ALONE_AFTER = 2
"""Deaths of a request after which it is tried while no other is: two may take too much memory."""
_DEATHS_IN_A_ROW = 10
"""Deaths without a result in between after which no sample is to blame, and the run ends."""
_LONGEST_PAUSE = 8.0
"""Seconds before a worker that died before it could begin is replaced; a node of a cluster that has
gone is given work until that is noticed."""
_LOOK = 5.0
"""Seconds between two looks at whether Ray still lives."""


@dataclass
class _Attempt:
    """A request that is being answered, or waits to be tried again."""

    request: Request
    deaths: int = 0
    """Workers that died while they answered it."""
    loading: Any = None
    """Ray's reference to the loading of the model, which comes before."""


class WorkerPool:
    """Workers on Ray, used as a context manager.

    Ray is started on this machine unless it runs in this process already or ``RAY_ADDRESS`` names
    a cluster.  Workers ask Ray for no resources, so they never wait for any.
    """

    def __init__(self, devices: Devices, settings: AdapterConfig) -> None:
        self._devices = devices
        self._settings = settings
        self._actors: dict[int, Any] = {}
        self._ray = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(hold_ray())
            start_ray()
            stack.callback(self._kill_all)
            for worker in range(self._devices.workers):
                self._spawn(worker)
            self._ray = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ray.close()

    def _kill_all(self) -> None:
        for worker in list(self._actors):
            self._kill(worker)

    def _kill(self, worker: int) -> None:
        import ray

        with suppress(Exception):
            ray.kill(self._actors.pop(worker))

    def _spawn(self, worker: int) -> None:
        import ray

        ray.cloudpickle.register_pickle_by_value(worker_process)
        path, threads = python_path(), self._devices.threads
        arguments = pickle.dumps((self._settings, self._devices.visible[worker], threads))
        environment = {"PYTHONPATH": os.pathsep.join(path), "OMP_NUM_THREADS": str(threads)}
        self._actors[worker] = (
            ray.remote(worker_process.WorkerProcess)
            .options(num_cpus=0, max_restarts=0, runtime_env={"env_vars": environment})
            .remote(path, arguments)
        )

    def run(
        self, take: Callable[[int], Request | None], *, poll: float | None = None
    ) -> Iterator[tuple[Request, ContextResult]]:
        """See ``Pool``.

        A worker that dies is replaced, and its request is tried again after the others; samples
        are given up only when several workers died while they answered them.

        Raises:
            RunStopped: if Ray has gone, or workers die whatever they do.
        """
        import ray

        retries: deque[_Attempt] = deque()
        idle = deque(self._actors)
        running: dict[Any, tuple[int, _Attempt]] = {}
        deaths, answered = 0, False
        finished: tuple[Request, ContextResult] | None = None
        looked = time.monotonic()
        while True:
            for worker in list(idle):
                attempt = self._next(worker, take, retries, [each for _, each in running.values()])
                if attempt is not None:
                    idle.remove(worker)
                    running[self._send(worker, attempt)] = worker, attempt
            if finished is not None:
                # Only now: the caller writes files while the workers go on.
                yield finished
                finished = None
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1, timeout=poll or _LOOK)
            if time.monotonic() - looked > _LOOK:
                check_ray()
                looked = time.monotonic()
            if not ready:
                continue
            worker, attempt = running.pop(ready[0])
            idle.append(worker)
            try:
                finished = attempt.request, ray.get(ready[0])
                deaths, answered = 0, True
            except ray.exceptions.RayError as error:
                check_ray()
                cause = _cause(error)
                logger.warning("a worker died: %s", cause)
                begun = _is_done(attempt.loading)
                # What killed workers before says nothing of the machine, if others live.
                deaths += not (answered and begun and attempt.deaths)
                if deaths == _DEATHS_IN_A_ROW:
                    raise RunStopped(
                        f"{deaths} workers died one after the other, and none gave an answer in "
                        f"between: {cause}. What was answered is kept."
                    ) from error
                self._kill(worker)
                if not begun:
                    time.sleep(min(_LONGEST_PAUSE, 0.1 * 2**deaths))
                self._spawn(worker)
                attempt.deaths += begun
                if attempt.deaths < _DEATHS_OF_A_REQUEST:
                    retries.append(attempt)
                else:
                    failed = ContextResult.all_failed(attempt.request, "worker_died", cause)
                    finished = attempt.request, failed

    def _next(
        self,
        worker: int,
        take: Callable[[int], Request | None],
        retries: deque[_Attempt],
        running: Sequence[_Attempt],
    ) -> _Attempt | None:
        """What a worker is to do next: what is new comes first."""
        if any(attempt.deaths >= _ALONE_AFTER for attempt in running):
            return None
        if (fresh := take(worker)) is not None:
            return _Attempt(fresh)
        if retries and (retries[0].deaths < _ALONE_AFTER or not running):
            return retries.popleft()
        return None

    def _send(self, worker: int, attempt: _Attempt) -> Any:
        """Have a worker answer; Ray's reference to the result."""
        actor = self._actors[worker]
        attempt.loading = actor.load.remote(attempt.request)
        return actor.evaluate.remote(attempt.request)


def _cause(error: Exception) -> str:
    """Why a worker died: the last line, because before it is what Ray did, with a traceback."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1].strip() if lines else 'no cause is known'}"


def _is_done(reference: Any) -> bool:
    """Whether there is a result, and no error in its place."""
    import ray

    with suppress(ray.exceptions.RayError):
        ray.get(reference, timeout=0)
        return True
    return False
