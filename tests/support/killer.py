"""Something that kills processes of a Ray cluster at random moments while work goes on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from unittest import mock

import psutil
from ray._private.node import Node
from ray.cluster_utils import Cluster


def small_cluster(nodes: int) -> Cluster:
    """A head and so many nodes of one CPU each, on this machine."""
    head = {"num_cpus": 1, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    for _ in range(nodes):
        cluster.add_node(num_cpus=1)
    return cluster


def worker_processes(cluster: Cluster | None = None) -> list[psutil.Process]:
    """Processes that answer samples: below the raylets of a cluster, else below this process."""
    above = [psutil.Process()]
    if cluster is not None:
        pids = [pid for node in cluster.list_all_nodes() if (pid := _raylet(node)) is not None]
        above = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
    return [process for parent in above for process in _below(parent)]


def kill_a_raylet(cluster: Cluster) -> bool:
    """Kill that of a node, whose other processes stay, and have another node."""
    return _replace_a_node(cluster, Node.kill_raylet)


def kill_a_node(cluster: Cluster) -> bool:
    """Kill all processes of a node, and have another node."""
    return _replace_a_node(cluster, lambda node: cluster.remove_node(node, allow_graceful=False))


def _replace_a_node(cluster: Cluster, kill: Callable[[Node], object]) -> bool:
    living = [node for node in cluster.worker_nodes if _raylet(node) is not None]
    if living:
        kill(random.choice(living))
        # Only the main thread may say what SIGTERM means, as Ray's helper wants to.
        with mock.patch("ray._private.utils.set_sigterm_handler"):
            # On a busy machine it joins later than the helper would wait for.
            cluster.add_node(wait=False, num_cpus=1)
    return bool(living)


def _raylet(node: Node) -> int | None:
    """The process of a node's raylet; None after its death."""
    found = [process.pid for kind, process in node.live_processes() if str(kind) == "raylet"]
    return found[0] if found else None


def _below(parent: psutil.Process) -> Iterator[psutil.Process]:
    with suppress(psutil.Error):
        for child in parent.children(recursive=True):
            with suppress(psutil.Error):
                if "WorkerProcess" in " ".join(child.cmdline()):
                    yield child


class Killer(threading.Thread):
    """Calls one of some functions that kill, again and again, until it is told to stop."""

    def __init__(
        self, kills: Sequence[Callable[[], bool]], pause: Callable[[], float], most: int = 10**6
    ) -> None:
        """Do nothing yet.

        Args:
            kills: each kills something, and says whether there was anything to kill.
            pause: seconds before the next kill.
            most: after so many kills it rests.
        """
        super().__init__(daemon=True)
        self.done: list[str] = []
        self._kills, self._pause, self._most = kills, pause, most
        self._end = threading.Event()
        self._error: Exception | None = None

    def run(self) -> None:
        try:
            while len(self.done) < self._most and not self._end.wait(self._pause()):
                kill = random.choice(self._kills)
                if kill():
                    self.done.append(kill.__name__)
        except Exception as error:
            self._error = error

    def stop(self) -> None:
        """Kill nothing more; raises what a kill raised."""
        self._end.set()
        self.join()
        if self._error is not None:
            raise self._error


def kill_one(processes: list[psutil.Process]) -> bool:
    """Kill one of some processes."""
    with suppress(psutil.Error):
        if processes:
            random.choice(processes).kill()
            return True
    return False
