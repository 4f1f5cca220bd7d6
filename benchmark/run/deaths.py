"""Why workers die, and what that says of the samples that they answered."""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress
from pathlib import Path
from typing import Any

from benchmark.run.requests import Request

GIVEN_UP_AFTER = 5
"""Workers that may die while they answer a request before its samples are to blame: others may kill
them, and take the memory that they need.  Each death costs a new process that loads the model."""
_LOST = 5
"""Times that a worker of a request may go out of reach on a machine that lives, before that counts:
a machine is known to be dead only after some seconds."""
ALONE_AFTER = 2
"""Deaths of a request after which it is tried while no other is: two may take too much memory."""


class Attempt:
    """A request that is being answered, or waits to be tried again."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.deaths = 0
        """Workers that died of it."""
        self.lost = 0
        """Times that its worker went out of reach."""
        self.nodes: set[str] = set()
        """Machines on which they did."""
        self.loading: Any = None
        """Ray's reference to the loading of the model, which comes before."""

    @property
    def alone(self) -> bool:
        """Whether it is to be tried while no other is."""
        return self.deaths >= ALONE_AFTER

    @property
    def given_up(self) -> bool:
        """Whether its samples are to blame."""
        return self.deaths >= GIVEN_UP_AFTER

    @property
    def has_begun(self) -> bool:
        """Whether its model was loaded, so that its samples were being answered."""
        return self.loading is not None and _is_done(self.loading)

    def lost_its_machine(self, error: Exception, node: str, alive: Set[str]) -> bool:
        """Whether its worker died because the machine did, or went out of reach."""
        import ray

        if isinstance(error, ray.exceptions.ActorUnavailableError) and self.lost < _LOST:
            self.lost += 1
            return True
        return node not in alive

    def died(self, node: str, for_memory: bool) -> None:
        """A worker died of it; one that took too much memory is followed by one with fewer rows."""
        self.deaths += 1
        self.nodes.add(node)
        if for_memory:
            self.request = self.request.with_fewer_rows()


class MemoryKills:
    """How many processes of this machine the system has killed because memory ran out."""

    def __init__(self) -> None:
        self._count = _killed_for_memory()

    def happened(self) -> bool:
        """Whether there are more than when this was asked last."""
        before, self._count = self._count, _killed_for_memory()
        return self._count > before


def is_for_memory(error: Exception) -> bool:
    """Whether Ray ended a worker because its machine was short of memory."""
    import ray

    return isinstance(error, ray.exceptions.OutOfMemoryError) or any(
        words in str(error) for words in ("memory monitor", "running low on memory")
    )


def cause_of(error: Exception) -> str:
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


def _killed_for_memory() -> int:
    with suppress(OSError, ValueError, StopIteration):
        lines = Path("/proc/vmstat").read_text(encoding="ascii").splitlines()
        return int(next(line for line in lines if line.startswith("oom_kill ")).split()[1])
    return 0
