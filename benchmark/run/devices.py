"""Which devices a run uses."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal, Self

import torch

from sparse_attention.errors import UserError

logger = logging.getLogger(__name__)

MOST_WORKERS = 1024
"""Each is a process with a model; the largest nodes have a few hundred cores."""


@dataclass(frozen=True)
class Devices:
    """The devices of the workers: those of this machine, or what Ray finds in a cluster."""

    kind: Literal["cpu", "cuda"]
    workers: int
    threads: int
    """CPU threads of each worker.  Sums in another number of threads round differently, so a run
    that needs fewer workers for what is left must not give them more threads."""
    gpus: int = 0
    """GPUs of each worker, over which its model is spread; 0 on a CPU."""
    visible: tuple[str, ...] | None = None
    """On this machine, each worker's value of ``CUDA_VISIBLE_DEVICES``; None in a cluster, where
    workers ask Ray for GPUs and threads and it says which are theirs."""
    memory: int = 0
    """Bytes that a worker asks a cluster for."""
    most: int = 0
    """To how many the workers grow when nodes join a cluster, if more than there are."""

    @classmethod
    def here(cls, kind: Literal["cpu", "cuda"], visible: Sequence[str], gpus: int = 0) -> Self:
        """Devices of this machine, with its cores spread over them.

        ``OMP_NUM_THREADS`` bounds the threads: where other programs take the cores, two threads
        that wait for each other are many times slower than one.
        """
        threads = max(1, min(cpu_count() // len(visible), thread_limit(cpu_count())))
        return cls(kind, len(visible), threads, gpus, tuple(visible))

    def at_most(self, workers: int) -> Devices:
        """These with fewer workers, which have no more threads than before."""
        visible = None if self.visible is None else self.visible[:workers]
        return replace(
            self,
            workers=min(self.workers, workers),
            most=min(self.most, workers),
            visible=visible,
        )


def cpu_count() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def thread_limit(otherwise: int) -> int:
    """The threads that ``OMP_NUM_THREADS`` allows; what is given if it says nothing."""
    # OpenMP allows a list, a number for each level of nesting.
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(limit) if limit.isdecimal() else otherwise


def check_counts(
    gpu_ids: Sequence[int] | None, num_workers: int | None, gpus_per_worker: int | None
) -> None:
    """Raises ``UserError`` for a count or an id that makes no sense anywhere."""
    if num_workers is not None and not 1 <= num_workers <= MOST_WORKERS:
        raise UserError(f"num_workers must be from 1 to {MOST_WORKERS}, got {num_workers}.")
    if gpus_per_worker is not None and not 1 <= gpus_per_worker <= MOST_WORKERS:
        raise UserError(f"gpus_per_worker must be from 1 to {MOST_WORKERS}, got {gpus_per_worker}.")
    if gpu_ids is not None and (
        any(number < 0 for number in gpu_ids) or len(set(gpu_ids)) < len(gpu_ids)
    ):
        raise UserError(f"gpu_ids must be different numbers from 0 on, got {list(gpu_ids)}.")


def choose_devices(
    gpu_ids: Sequence[int] | None,
    num_workers: int | None = None,
    gpus_per_worker: int | None = None,
) -> Devices:
    """Devices of this machine for ``gpu_ids``: None takes every GPU, an empty sequence the CPU.

    GPUs that do not exist are not waited for: if none of those named is there, the work goes to the
    CPU, and that is said.  The default of ``num_workers`` is as many as there are GPUs for, and two
    on a CPU, because small models leave cores idle and large ones fill the memory.

    Raises:
        UserError: for a count or an id that makes no sense, and for more workers than GPUs.
    """
    check_counts(gpu_ids, num_workers, gpus_per_worker)
    available = _visible_gpus()
    wanted = range(len(available)) if gpu_ids is None else gpu_ids
    found = [available[number] for number in wanted if number < len(available)]
    if gpu_ids and len(found) < len(gpu_ids):
        place = f"GPUs {', '.join(found)}" if found else "the CPU"
        _say_once(f"GPUs {list(gpu_ids)} were asked for, this machine has {len(available)}", place)
    if found or gpus_per_worker is not None:
        each = gpus_per_worker or 1
        workers = num_workers or max(1, len(found) // each)
        if workers * each > len(found):
            raise too_many(workers, each, len(found), "this machine")
        groups = [",".join(found[at : at + each]) for at in range(0, workers * each, each)]
        return Devices.here("cuda", groups, each)
    return Devices.here("cpu", [""] * (num_workers or min(2, cpu_count())))


def too_many(workers: int, gpus: int, available: int, place: str) -> UserError:
    """What says that there are too few GPUs."""
    return UserError(
        f"{workers} worker(s) of {gpus} GPU(s) each were asked for, {place} has {available} that "
        "may be used; ask for fewer (--workers, --gpus-per-worker), or for none (--gpu-ids without "
        "a number: the CPU)."
    )


@cache
def _say_once(problem: str, place: str) -> None:
    logger.warning("%s; working on %s", problem, place)


def _visible_gpus() -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` calls the GPUs that this process sees."""
    count = torch.cuda.device_count()
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names[:count] if len(names) >= count else [str(number) for number in range(count)]
