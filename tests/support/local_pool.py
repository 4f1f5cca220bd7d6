"""A pool that works in this process: for tests of what the executor writes, not of Ray."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator

import torch

from benchmark.executor_config import AdapterConfig
from benchmark.run.devices import Devices
from benchmark.run.requests import ContextResult, Request
from benchmark.run.worker import EvaluationWorker


class LocalPool:
    """Stands in for ``WorkerPool``; counts the requests."""

    requests = 0

    def __init__(self, devices: Devices, settings: AdapterConfig) -> None:
        self._threads = torch.get_num_threads()
        self._worker = EvaluationWorker(settings, "cpu", devices.threads)
        self._pause = float(os.environ.get("TOY_PAUSE", "0"))

    def __enter__(self) -> LocalPool:
        return self

    def __exit__(self, *exception: object) -> None:
        torch.set_num_threads(self._threads)

    def run(
        self, take: Callable[[int], Request | None], *, poll: float | None = None
    ) -> Iterator[tuple[Request, ContextResult]]:
        while (request := take(0)) is not None:
            time.sleep(self._pause)
            type(self).requests += 1
            yield request, self._worker.evaluate(request)
