"""Workers of a matrix run: Ray actors that keep a model, and the pool that feeds them."""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any, Self

from benchmark.executor_config import AdapterConfig
from benchmark.run.devices import Devices
from benchmark.run.evaluator import Evaluator, describe_error
from benchmark.run.ray_session import hold_ray, python_path, start_ray
from benchmark.run.requests import ContextResult, ModelFailure, Request
from sparse_attention.errors import UserError
from sparse_attention.hf.adapter import HuggingFaceAdapter

logger = logging.getLogger(__name__)

_ATTEMPTS = 2
"""How often the samples of a context are tried when workers die of them: a second time, because the
cause may lie elsewhere; no more, because each costs a new process that loads the model."""
_DEATHS_IN_A_ROW = 10
"""Deaths without a result in between after which the cause is not the samples, and the run ends."""


class EvaluationWorker:
    """The process of one device; it keeps the model of its last request, with its prefills."""

    def __init__(self, settings: AdapterConfig, visible_device: str, threads: int) -> None:
        # Before CUDA starts; from then on the worker's GPU is number 0.
        os.environ["CUDA_VISIBLE_DEVICES"] = visible_device
        import torch

        torch.set_num_threads(threads)
        self._settings = settings
        self._device = "cuda:0" if visible_device else "cpu"
        self._loaded: tuple[str, str | None] | None = None
        self._evaluator: Evaluator | None = None

    def evaluate(self, request: Request) -> ContextResult:
        """Answer a request, loading its model first where it is not the last one."""
        wanted = (request.model, request.revision)
        if self._evaluator is None or self._loaded != wanted:
            # The old model must be gone before the new one comes.
            self._evaluator, self._loaded = None, None
            try:
                self._evaluator = self._load(request)
            except UserError as error:
                return ContextResult(model_failure=ModelFailure(str(error), by_user=True))
            except Exception as error:
                failure = ModelFailure(describe_error(error), by_user=False)
                return ContextResult(model_failure=failure)
            self._loaded = wanted
        return self._evaluator.evaluate(
            request.samples, request.configs, request.prompt, request.scope
        )

    def _load(self, request: Request) -> Evaluator:
        adapter = HuggingFaceAdapter.load(
            request.model,
            device=self._device,
            dtype=self._settings.dtype,
            revision=request.revision,
            trust_remote_code=self._settings.trust_remote_code,
            max_positions=self._settings.max_positions,
        )
        return Evaluator(adapter, self._settings, self._device)


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
        self._ray.enter_context(hold_ray())
        start_ray()
        for worker in range(self._devices.workers):
            self._spawn(worker)
        return self

    def __exit__(self, *exception: object) -> None:
        import ray

        for actor in self._actors.values():
            with suppress(Exception):
                ray.kill(actor)
        self._ray.close()

    def _spawn(self, worker: int) -> None:
        import ray

        if worker in self._actors:
            with suppress(Exception):
                ray.kill(self._actors[worker])
        threads = self._devices.threads
        self._actors[worker] = (
            ray.remote(EvaluationWorker)
            .options(
                num_cpus=0,
                max_restarts=0,
                runtime_env={
                    "env_vars": {"PYTHONPATH": python_path(), "OMP_NUM_THREADS": str(threads)}
                },
            )
            .remote(self._settings, self._devices.visible[worker], threads)
        )

    def run(
        self, take: Callable[[int], Request | None], *, poll: float | None = None
    ) -> Iterator[tuple[Request, ContextResult]]:
        """See ``Pool``.  A worker that dies is replaced, and its request is tried once more."""
        import ray

        retries: deque[tuple[Request, int]] = deque()
        idle = deque(self._actors)
        running: dict[Any, tuple[int, Request, int]] = {}
        deaths = 0
        finished: tuple[Request, ContextResult] | None = None
        while True:
            for worker in list(idle):
                if retries:
                    request, attempt = retries.popleft()
                elif (fresh := take(worker)) is not None:
                    request, attempt = fresh, 1
                else:
                    continue
                idle.remove(worker)
                reference = self._actors[worker].evaluate.remote(request)
                running[reference] = worker, request, attempt
            if finished is not None:
                # Only now: the caller writes files while the workers go on.
                yield finished
                finished = None
            if not running:
                return
            ready, _ = ray.wait(list(running), num_returns=1, timeout=poll)
            if not ready:
                continue
            worker, request, attempt = running.pop(ready[0])
            idle.append(worker)
            try:
                finished = request, ray.get(ready[0])
                deaths = 0
            except ray.exceptions.RayError as error:
                logger.warning("a worker died: %s", describe_error(error))
                deaths += 1
                if deaths == _DEATHS_IN_A_ROW:
                    raise RuntimeError(f"workers die one after the other: {error}") from error
                self._spawn(worker)
                if attempt < _ATTEMPTS:
                    retries.append((request, attempt + 1))
                else:
                    finished = (
                        request,
                        ContextResult.all_failed(request, "worker_died", describe_error(error)),
                    )
