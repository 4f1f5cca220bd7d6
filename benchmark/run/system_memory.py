"""How much memory this process may use."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import torch

_UNLIMITED = 1 << 60
_GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current", "inactive_file"),
    (
        "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/memory/memory.usage_in_bytes",
        "total_inactive_file",
    ),
)
"""Limit and use of a container's memory, and what of the use are files that can be dropped, in the
two forms that Linux has."""


def total_memory(device: torch.device) -> int:
    """Bytes that a device has in all, for this process and others."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[1])
    limits = [_number(limit) for limit, _, _ in _GROUPS]
    return min([_meminfo("MemTotal"), *(limit for limit in limits if limit)])


def free_memory(device: torch.device) -> int:
    """Bytes of a device that this process can still take."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        # What torch holds and does not use it will use first.
        unused = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int(free + unused)
    free = _meminfo("MemAvailable")
    for limit, used, dropped in _GROUPS:
        most = _number(limit)
        if most:
            files = _entry(Path(used).with_name("memory.stat"), dropped)
            free = min(free, most - _number(used) + files)
    return max(0, free)


def _meminfo(name: str) -> int:
    return _entry(Path("/proc/meminfo"), f"{name}:") * 1024 or _UNLIMITED


def _entry(path: Path, name: str) -> int:
    with suppress(OSError, ValueError):
        for line in path.read_text(encoding="ascii").splitlines():
            words = line.split()
            if words and words[0] == name:
                return int(words[1])
    return 0


def _number(path: str) -> int:
    """What stands in a file; 0 where there is none, and for no limit."""
    with suppress(OSError, ValueError):
        number = int(Path(path).read_text(encoding="ascii"))
        return number if number < _UNLIMITED else 0
    return 0
