"""One worker on Ray: how it is started, asked and ended."""

from __future__ import annotations

import pickle
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from benchmark.executor_config import AdapterConfig
from benchmark.run import worker_process
from benchmark.run.cluster import worker_environment
from benchmark.run.deaths import Attempt
from benchmark.run.devices import Devices
from benchmark.run.node_facts import NodeFacts
from benchmark.run.ray_session import python_path


class WorkerActor:
    """A process with a model that Ray starts where there is room, and does not start again.

    In a cluster it asks for its share of a machine and waits until one has it; on this machine it
    asks for nothing, so that it never waits.
    """

    def __init__(self, devices: Devices, settings: AdapterConfig, number: int) -> None:
        """Have it started, as worker ``number`` of those that there may be."""
        import ray

        ray.cloudpickle.register_pickle_by_value(worker_process)
        visible = None if devices.visible is None else devices.visible[number]
        device = "cpu" if devices.kind == "cpu" else "cuda:0" if devices.gpus == 1 else "auto"
        asked: dict[str, Any] = {"num_cpus": 0}
        if visible is None:
            asked = {
                "num_cpus": devices.threads,
                "num_gpus": devices.gpus,
                "memory": devices.memory,
                "scheduling_strategy": "SPREAD",
            }
        if devices.kind == "cpu":
            visible = ""
        remote: Any = ray.remote(worker_process.WorkerProcess).options(
            **asked,
            max_restarts=0,
            runtime_env={"env_vars": dict(worker_environment(devices))},
        )
        arguments = pickle.dumps((settings, device, devices.threads))
        self._actor = remote.remote(python_path(), visible, arguments)
        self.starting: Any = self._actor.where.remote()
        """Ray's reference to the facts of its machine, which come when it has started."""
        self._model: tuple[str, str | None] | None = None
        """What it was asked to load last."""
        self._loading: Any = None
        """Ray's reference to that."""

    def send(self, attempt: Attempt) -> Any:
        """Have it answer; Ray's reference to the result."""
        request = attempt.request
        if self._model != (request.model, request.revision):
            self._model = request.model, request.revision
            self._loading = self._actor.load.remote(request)
        attempt.loading = self._loading
        return self._actor.evaluate.remote(request)

    def end(self) -> None:
        """End its process."""
        import ray

        with suppress(Exception):
            ray.kill(self._actor)


@dataclass
class Place:
    """What is known of one of the workers that there are to be."""

    actor: WorkerActor | None = None
    """None before it is started, and while a dead one is not replaced yet."""
    machine: NodeFacts | None = None
    """None until it has started."""
    due: float = 0.0
    """When it is to be started."""
    failures: int = 0
    """Times that it died before it had started."""
    unusable: bool = False
    """It stays where it is and gets no work: another would be put on the same machine."""

    @property
    def starting(self) -> Any:
        """Ray's reference that is ready when its worker has started; None without a worker."""
        return None if self.actor is None else self.actor.starting
