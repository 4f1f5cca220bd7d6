"""Whether kernels for a GPU can be had."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any


@cache
def has_triton() -> bool:
    """Whether Triton is installed; it is not imported before a GPU needs it."""
    return importlib.util.find_spec("triton") is not None


def gpu_kernels() -> Any:
    """The module of the kernels that choose keys, or None without Triton."""
    if not has_triton():
        return None
    from sparse_attention.numerics import choosing_kernels

    return choosing_kernels
