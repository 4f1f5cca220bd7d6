"""Which devices a run uses."""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import torch

from sparse_attention.errors import UserError

logger = logging.getLogger(__name__)

_MOST_WORKERS = 1024
"""Each is a process with a model; the largest nodes have a few hundred cores."""


@dataclass(frozen=True)
class Devices:
    """The devices of the workers, one each."""

    kind: Literal["cpu", "cuda"]
    visible: tuple[str, ...]
    """For each worker, its value of ``CUDA_VISIBLE_DEVICES``; empty strings on a CPU."""
    threads: int
    """CPU threads of each worker.  Sums in another number of threads round differently, so a run
    that needs fewer workers for what is left must not give them more threads."""

    @classmethod
    def of(cls, kind: Literal["cpu", "cuda"], visible: tuple[str, ...]) -> Devices:
        """These devices, with the cores of this machine spread over them.

        ``OMP_NUM_THREADS`` bounds the threads: where other programs take the cores, two threads
        that wait for each other are many times slower than one.
        """
        return cls(kind, visible, max(1, min(cpu_count() // len(visible), _thread_limit())))

    @property
    def workers(self) -> int:
        """Number of workers."""
        return len(self.visible)


def cpu_count() -> int:
    """CPU cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _thread_limit() -> int:
    # OpenMP allows a list, a number for each level of nesting.
    limit = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip()
    return int(limit) if limit.isdecimal() else cpu_count()


def choose_devices(gpu_ids: Sequence[int] | None, num_workers: int | None) -> Devices:
    """Devices for ``gpu_ids``: None takes every GPU there is, an empty sequence the CPU.

    GPUs that do not exist are not waited for: if none of those asked for is there, the work goes to
    the CPU, and that is said.  ``num_workers`` counts the workers, on GPUs at most one each; the
    default is one per GPU, and on a CPU two, because small models leave cores idle and large ones
    fill the memory.  Raises ``UserError`` for a count or an id that makes no sense.
    """
    if num_workers is not None and not 1 <= num_workers <= _MOST_WORKERS:
        raise UserError(f"num_workers must be from 1 to {_MOST_WORKERS}, got {num_workers}.")
    if gpu_ids is not None and (
        any(number < 0 for number in gpu_ids) or len(set(gpu_ids)) < len(gpu_ids)
    ):
        raise UserError(f"gpu_ids must be different numbers from 0 on, got {list(gpu_ids)}.")
    available = _visible_gpus()
    wanted = range(len(available)) if gpu_ids is None else gpu_ids
    found = [available[number] for number in wanted if number < len(available)]
    if gpu_ids and len(found) < len(gpu_ids):
        place = f"GPUs {', '.join(found)}" if found else "the CPU"
        _say_once(f"GPUs {list(gpu_ids)} were asked for, this machine has {len(available)}", place)
    if found:
        return Devices.of("cuda", tuple(found[:num_workers]))
    return Devices.of("cpu", ("",) * (num_workers or min(2, cpu_count())))


@cache
def _say_once(problem: str, place: str) -> None:
    logger.warning("%s; working on %s", problem, place)


def _visible_gpus() -> list[str]:
    """What ``CUDA_VISIBLE_DEVICES`` calls the GPUs that this process sees."""
    count = torch.cuda.device_count()
    names = [name for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name]
    return names[:count] if len(names) >= count else [str(number) for number in range(count)]
