"""Something that kills processes of a Ray cluster at random moments while work goes on."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import psutil
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
        above = [
            psutil.Process(info.process.pid)
            for node in cluster.list_all_nodes()
            for info in node.all_processes["raylet"]
            if psutil.pid_exists(info.process.pid)
        ]
    return [process for parent in above for process in _below(parent)]


def _below(parent: psutil.Process) -> Iterator[psutil.Process]:
    with suppress(psutil.Error):
        for child in parent.children(recursive=True):
            with suppress(psutil.Error):
                if "WorkerProcess" in " ".join(child.cmdline()):
                    yield child


class Killer(threading.Thread):
    """Calls one of some functions that kill, again and again, until it is told to stop."""

    def __init__(
        self, kills: list[Callable[[], bool]], pause: Callable[[], float], most: int = 10**6
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

    def run(self) -> None:
        while len(self.done) < self._most and not self._end.wait(self._pause()):
            kill = random.choice(self._kills)
            if kill():
                self.done.append(kill.__name__)

    def stop(self) -> None:
        """Kill nothing more."""
        self._end.set()
        self.join()


def kill_one(processes: list[psutil.Process]) -> bool:
    """Kill one of some processes."""
    with suppress(psutil.Error):
        if processes:
            random.choice(processes).kill()
            return True
    return False
