"""What the performance programs share: a fixed allocator, one thread, spread, a line of JSON."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence

# glibc gives large buffers back and faults them in again at every step unless told otherwise, which
# alone changes ratios several-fold; the setting must be there before the process starts.
_ALLOCATOR = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "4294967296"}
_THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}


def fix_environment() -> None:
    """Start this program again with a fixed allocator and one thread, if it has not been."""
    wanted = _ALLOCATOR | _THREADS
    if any(os.environ.get(key) != value for key, value in wanted.items()):
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | wanted)


def cpu_seconds(work: Callable[[], object], times: int = 1) -> float:
    """CPU time that ``work``, done so many times, takes in this process."""
    start = time.process_time()
    for _ in range(times):
        work()
    return time.process_time() - start


def wall_seconds(work: Callable[[], object]) -> float:
    """Wall time that ``work`` takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Median with minimum and maximum."""
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def ratios(numerators: Sequence[float], denominators: Sequence[float]) -> list[float]:
    """Ratios of measurements that were taken side by side."""
    return [a / b for a, b in zip(numerators, denominators, strict=True)]


def report(**measured: float) -> None:
    """Print the last line of a program: what it measured, by name."""
    print(
        json.dumps({name.replace("__", "@"): round(value, 4) for name, value in measured.items()})
    )
