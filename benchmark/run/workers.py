"""The pool of workers on Ray: who gets which request, and what is done when one dies."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any, Self

from benchmark.executor_config import AdapterConfig
from benchmark.run.actor import Place, WorkerActor
from benchmark.run.cluster import living_nodes, room_for
from benchmark.run.deaths import (
    Attempt,
    MemoryKills,
    cause_of,
    is_for_memory,
)
from benchmark.run.devices import Devices
from benchmark.run.errors import RunStopped
from benchmark.run.node_facts import NodeFacts, software_problem
from benchmark.run.ray_session import check_ray, hold_ray, start_ray
from benchmark.run.requests import ContextResult, Request

logger = logging.getLogger(__name__)

_DEATHS_IN_A_ROW = 10
"""Deaths without a result in between after which no sample is to blame, and the run ends."""
_LONGEST_PAUSE = 8.0
"""Seconds before a worker that died before it could begin is replaced; a node of a cluster that has
gone is given work until that is noticed."""
_LOOK = 5.0
"""Seconds between two looks at whether Ray still lives, and whether nodes have joined."""
_PATIENCE = 50.0
"""Seconds without any worker before it is asked whether there can ever be one."""


class WorkerPool:
    """Workers on Ray, used as a context manager.

    Ray is started on this machine unless it runs in this process already or ``RAY_ADDRESS`` names
    a cluster.  Work goes to workers that have started, so that none waits for a machine.
    """

    def __init__(self, devices: Devices, settings: AdapterConfig) -> None:
        self._devices = devices
        self._settings = settings
        self._places: list[Place] = []
        self._running: dict[Any, tuple[int, Attempt]] = {}
        """By Ray's reference to the result."""
        self._retries: deque[Attempt] = deque()
        self._loaded: set[str] = set()
        """Models that some worker could load."""
        self._deaths = 0
        """Since the last answer, of workers that may show that none can live."""
        self._answered = False
        self._looked = self._worked = 0.0
        """When Ray was looked at; when some worker was last there."""
        self._ray = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.enter_context(hold_ray())
            start_ray()
            stack.callback(self._end_all)
            self._memory_kills = MemoryKills()
            self._looked = self._worked = time.monotonic()
            self._places = [Place() for _ in range(self._devices.workers)]
            self._start_due()
            self._ray = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self._ray.close()

    def _end_all(self) -> None:
        for place in self._places:
            if place.actor is not None:
                place.actor.end()

    def run(
        self, take: Callable[[int], Request | None], *, poll: float | None = None
    ) -> Iterator[tuple[Request, ContextResult]]:
        """See ``Pool``.

        A worker that dies is replaced, and its request is tried again after the others, elsewhere
        if there are several machines; samples are given up only when several workers died of them.

        Raises:
            RunStopped: if Ray has gone, or workers die whatever they do, or no machine is left.
        """
        finished: tuple[Request, ContextResult] | None = None
        ready: deque[Any] = deque()
        while True:
            self._start_due()
            idle = self._idle()
            for worker in idle:
                attempt = self._next(worker, take)
                actor = self._places[worker].actor
                if attempt is not None and actor is not None:
                    self._running[actor.send(attempt)] = worker, attempt
            if finished is not None:
                # Only now: the caller writes files while the workers go on.
                yield finished
                finished = None
            nothing = not self._running and not self._retries
            if nothing and idle:
                return
            if not ready:
                ready.extend(self._wait(poll))
            reference = ready.popleft() if ready else None
            if reference in self._running:
                finished = self._take_result(reference)
            elif reference is not None:
                self._has_started(reference)
            if nothing and poll:
                return

    def _idle(self) -> list[int]:
        busy = {worker for worker, _ in self._running.values()}
        return [
            worker
            for worker, place in enumerate(self._places)
            if place.machine is not None and not place.unusable and worker not in busy
        ]

    def _start_due(self) -> None:
        """Start the workers whose time has come."""
        for number, place in enumerate(self._places):
            if place.actor is None and place.due <= time.monotonic():
                place.actor = WorkerActor(self._devices, self._settings, number)

    def _wait(self, poll: float | None) -> list[Any]:
        """References of Ray that are ready, none after a while; looks around now and then."""
        import ray

        starting = [
            place.actor.starting
            for place in self._places
            if place.actor is not None and place.machine is None
        ]
        waited = [*self._running, *starting]
        pause = poll or (0.1 if any(place.actor is None for place in self._places) else _LOOK)
        if not waited:
            time.sleep(pause)
        ready: list[Any] = []
        if waited:
            # All of them: of those that are ready Ray would return any one, again and again, and
            # a worker that answers at once would hide that others have started, answered or died.
            ready = ray.wait(waited, num_returns=len(waited), timeout=0)[0]
            ready = ready or ray.wait(waited, timeout=pause)[0]
        now = time.monotonic()
        if any(place.machine is not None and not place.unusable for place in self._places):
            self._worked = now
        if now - self._looked > _LOOK:
            self._looked = now
            check_ray()
            self._grow()
            if now - self._worked > _PATIENCE:
                self._explain_wait()
        return ready

    def _take_result(self, reference: Any) -> tuple[Request, ContextResult] | None:
        """What came of a request; None if it is to be tried again."""
        import ray

        worker, attempt = self._running.pop(reference)
        try:
            answer: ContextResult = ray.get(reference)
        except ray.exceptions.RayError as error:
            result = self._has_died(worker, attempt, error)
        else:
            self._deaths, self._answered = 0, True
            result = self._checked(worker, attempt, answer)
        return None if result is None else (attempt.request, result)

    def _grow(self) -> None:
        """More workers, where nodes have joined the cluster."""
        usable = sum(not place.unusable for place in self._places)
        if usable < self._devices.most:
            wanted = min(self._devices.most, room_for(self._devices))
            self._places += [Place() for _ in range(wanted - len(self._places))]

    def _explain_wait(self) -> None:
        """No worker has been there for long: say what is waited for, or end."""
        devices = self._devices
        share = f"{devices.threads} CPU(s), {devices.gpus} GPU(s), {devices.memory >> 20} MiB"
        parked = sum(place.unusable for place in self._places)
        if devices.visible is None and room_for(devices) <= parked:
            raise RunStopped(
                f"no node that is left in the Ray cluster has room for a worker ({share}). "
                "What was answered is kept, run again to go on."
            )
        logger.warning("still waiting for Ray to start a worker (%s)", share)
        self._worked = time.monotonic()

    def _next(self, worker: int, take: Callable[[int], Request | None]) -> Attempt | None:
        """What a worker is to do next: what is new comes first."""
        running = [attempt for _, attempt in self._running.values()]
        if any(attempt.alone for attempt in running):
            return None
        if (fresh := take(worker)) is not None:
            return Attempt(fresh)
        for attempt in list(self._retries):
            if attempt.alone and running:
                return None
            if self._may_try(worker, attempt):
                self._retries.remove(attempt)
                return attempt
        return None

    def _may_try(self, worker: int, attempt: Attempt) -> bool:
        """Not where its workers died, if there is another machine."""
        machines = {
            place.machine.node
            for place in self._places
            if place.machine is not None and not place.unusable
        }
        machine = self._places[worker].machine
        here = None if machine is None else machine.node
        return here not in attempt.nodes or machines <= attempt.nodes

    def _has_started(self, reference: Any) -> None:
        """A worker is there, or could not be started."""
        import ray

        place = next(each for each in self._places if each.starting == reference)
        try:
            facts: NodeFacts = ray.get(reference)
        except ray.exceptions.RayError as error:
            self._replace(place, error, may_show_that_none_lives=True)
            return
        place.machine = facts
        problem = software_problem(facts) if self._devices.visible is None else None
        if problem is not None:
            self._park(place, f"has {problem}")

    def _checked(
        self, worker: int, attempt: Attempt, result: ContextResult
    ) -> ContextResult | None:
        """A result, unless its worker alone lacks a model that others have: then it is parked."""
        model = attempt.request.model
        if result.model_failure is None:
            self._loaded.add(model)
        elif model in self._loaded and len(self._idle()) + len(self._running) > 1:
            self._park(self._places[worker], f"lacks {model}: {result.model_failure.message}")
            self._retries.append(attempt)
            return None
        return result

    def _park(self, place: Place, problem: str) -> None:
        host = "?" if place.machine is None else place.machine.host
        logger.warning("%s %s; it gets no work", host, problem)
        place.unusable = True
        if self._devices.visible is None:
            self._places.append(Place())

    def _has_died(self, worker: int, attempt: Attempt, error: Exception) -> ContextResult | None:
        """A worker died while it answered: what is said of its samples if they are given up."""
        check_ray()
        place = self._places[worker]
        node = "" if place.machine is None else place.machine.node
        lost = attempt.lost_its_machine(error, node, {each.name for each in living_nodes()})
        to_blame = attempt.has_begun and not lost
        # What killed workers before says nothing of the machines, nor does a machine that has gone.
        known = self._answered and to_blame and attempt.deaths > 0
        self._replace(place, error, may_show_that_none_lives=not (known or lost))
        if to_blame:
            attempt.died(node, is_for_memory(error) or self._memory_kills.happened())
        if not attempt.given_up:
            self._retries.append(attempt)
            return None
        return ContextResult.all_failed(attempt.request, "worker_died", cause_of(error))

    def _replace(self, place: Place, error: Exception, *, may_show_that_none_lives: bool) -> None:
        """Have another one in the place of a worker that died."""
        logger.warning("a worker died: %s", cause_of(error))
        others = any(each.machine is not None for each in self._places if each is not place)
        self._deaths += may_show_that_none_lives and not (others and place.machine is None)
        if self._deaths >= _DEATHS_IN_A_ROW:
            raise RunStopped(
                f"{self._deaths} workers died one after the other, and none gave an answer in "
                f"between: {cause_of(error)}. What was answered is kept."
            ) from error
        if place.actor is not None:
            place.actor.end()
        place.failures = 0 if place.machine is not None else place.failures + 1
        pause = min(_LONGEST_PAUSE, 0.1 * 2**place.failures) if place.failures else 0.0
        place.actor = place.machine = None
        place.due = time.monotonic() + pause
