"""What a cluster of Ray can hold of workers, and whether its machines can work for a run."""

from __future__ import annotations

import logging
import os
import pickle
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmark.run import worker_process
from benchmark.run.devices import MOST_WORKERS, Devices, check_counts, thread_limit, too_many
from benchmark.run.models import ModelSource
from benchmark.run.node_facts import NodeFacts, software_problem
from benchmark.run.ray_session import check_ray, python_path, start_ray
from sparse_attention.errors import UserError, first_line

logger = logging.getLogger(__name__)

_SECONDS_TO_REPORT = 1800.0
"""For a machine to say what it has: the files of models, which may be hundreds of GB, are read."""
_SECONDS_OF_SILENCE = 60.0
_LOOK = 5.0
"""Seconds between two looks at whether Ray still lives."""


@dataclass(frozen=True)
class Node:
    """A machine of the cluster, with what Ray has to give away there in all."""

    name: str
    host: str
    cpus: int
    gpus: int
    memory: int

    def holds(self, devices: Devices) -> int:
        """How many workers find room there."""
        asked = [(devices.threads, self.cpus), (devices.gpus, self.gpus)]
        room = [there // each for each, there in [*asked, (devices.memory, self.memory)] if each]
        return min(room)


def living_nodes() -> list[Node]:
    """The machines of the cluster; Ray must run."""
    import ray

    return [
        Node(
            name=node["NodeID"],
            host=node["NodeManagerHostname"],
            cpus=int(node["Resources"].get("CPU", 0)),
            gpus=int(node["Resources"].get("GPU", 0)),
            memory=int(node["Resources"].get("memory", 0)),
        )
        for node in ray.nodes()
        if node["Alive"]
    ]


def room_for(devices: Devices) -> int:
    """How many workers the cluster has room for, if nobody else uses it."""
    return sum(node.holds(devices) for node in living_nodes())


def cluster_devices(
    gpu_ids: Sequence[int] | None, num_workers: int | None, gpus_per_worker: int | None
) -> Devices:
    """Devices of the cluster that ``RAY_ADDRESS`` names, which is joined.

    Without ``num_workers`` as many as find room, also on nodes that join later: on GPUs one for
    every ``gpus_per_worker`` of them, on CPUs two for each of the larger nodes.  An empty sequence
    of ``gpu_ids`` means the CPU; numbers have no meaning in a cluster.

    Raises:
        UserError: for more workers than find room.
    """
    check_counts(gpu_ids, num_workers, gpus_per_worker)
    if gpu_ids:
        raise UserError(
            f"gpu_ids {list(gpu_ids)} are numbers of GPUs of one machine, and Ray's address names "
            "a cluster; ask with --workers and --gpus-per-worker instead."
        )
    start_ray()
    nodes = living_nodes()
    gpus = sum(node.gpus for node in nodes)
    if gpu_ids is None and (gpus or gpus_per_worker):
        each = gpus_per_worker or 1
        fitting = sum(node.gpus // each for node in nodes)
        if (num_workers or 1) > fitting:
            raise too_many(num_workers or 1, each, gpus, "the cluster")
        shares = [node.cpus // (node.gpus // each) for node in nodes if node.gpus >= each]
        threads = max(1, min(min(shares), thread_limit(min(shares))))
        devices = Devices("cuda", fitting, threads, gpus=each)
    else:
        devices = Devices("cpu", 1, _cpu_threads([node.cpus for node in nodes], num_workers))
    room = sum(node.holds(devices) for node in nodes)
    if devices.kind == "cpu" and num_workers is None:
        room = sum(min(2, node.holds(devices)) for node in nodes)
    if (num_workers or 1) > room:
        cpus = sum(node.cpus for node in nodes)
        raise UserError(
            f"{num_workers or 1} worker(s) of {devices.threads} CPU thread(s) each were asked for, "
            f"the cluster has {cpus} CPUs on {len(nodes)} node(s), which is room for {room}; ask "
            "for fewer (--workers), or start Ray with more (--num-cpus)."
        )
    if num_workers is not None:
        return replace(devices, workers=num_workers)
    return replace(devices, workers=room, most=MOST_WORKERS)


def _cpu_threads(cpus: Sequence[int], num_workers: int | None) -> int:
    """Threads of each worker: as many as still leave room for all, by default half a node's."""
    largest = max(cpus, default=0)
    if num_workers is None:
        wanted = max(1, largest // 2)
    else:
        rooms = {
            threads: sum(each // threads for each in cpus) for threads in range(1, largest + 1)
        }
        wanted = max((threads for threads, room in rooms.items() if room >= num_workers), default=1)
    return max(1, min(wanted, thread_limit(wanted)))


def check_nodes(devices: Devices, models: Sequence[ModelSource]) -> dict[str, NodeFacts]:
    """Facts of each node that has room for a worker, by Ray's name of it; the cluster is joined.

    One that dies meanwhile is no part of the cluster any more.

    Raises:
        RunStopped: if Ray has gone.
        UserError: if one does not answer, has other software than this process, or lacks a model.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    ray.cloudpickle.register_pickle_by_value(worker_process)
    known = [(replace(model), model.identity) for model in models]
    # A process that has looked at all GPUs is of no use to a worker, which gets some of them.
    calls = 1 if devices.kind == "cuda" else 0
    task: Any = ray.remote(max_calls=calls)(worker_process.report)
    asked: dict[Any, Node] = {}
    for node in living_nodes():
        if node.holds(devices):
            options = task.options(
                num_cpus=0,
                max_retries=3,  # where its process is killed
                scheduling_strategy=NodeAffinitySchedulingStrategy(node.name, soft=False),
                runtime_env={"env_vars": worker_environment(devices)},
            )
            asked[options.remote(python_path(), pickle.dumps(known))] = node
    late, said = list(asked), time.monotonic()
    end = said + _SECONDS_TO_REPORT
    while late and time.monotonic() < end:
        _, late = ray.wait(late, num_returns=len(late), timeout=_LOOK)
        check_ray()  # else its end would look like that of a node
        if late and time.monotonic() > said + _SECONDS_OF_SILENCE:
            said = time.monotonic()
            logger.warning("still waiting for %s to read the files of models", asked[late[0]].host)
    if late:
        raise _unusable(asked[late[0]].host, "does not answer")
    found = {node.name: _facts(reference, node) for reference, node in asked.items()}
    return {name: facts for name, facts in found.items() if facts is not None}


def _facts(reference: Any, node: Node) -> NodeFacts | None:
    """What a machine says of itself; None if it has died."""
    import ray

    try:
        facts: NodeFacts = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise _unusable(node.host, f"cannot run this project: {first_line(error.cause)}") from error
    except ray.exceptions.RayError as error:
        if node.name not in {each.name for each in living_nodes()}:
            return None
        raise _unusable(node.host, f"does not answer: {first_line(error)}") from error
    problem = software_problem(facts)
    if problem is not None:
        raise _unusable(node.host, f"has {problem}")
    for name, why in facts.model_problems.items():
        raise _unusable(node.host, f"lacks the model {name!r}, which {why}")
    return facts


def _unusable(host: str, problem: str) -> UserError:
    return UserError(
        f"node {host} of the Ray cluster {problem}. Every node needs the same packages as this "
        "machine and the models' files in the same place; put them there, or take the node out of "
        "the cluster."
    )


def worker_environment(devices: Devices) -> Mapping[str, str]:
    """Environment of the processes that compute."""
    return {
        "PYTHONPATH": os.pathsep.join(python_path()),
        "OMP_NUM_THREADS": str(devices.threads),
    }
