"""Whether kernels for a GPU can be had."""

from __future__ import annotations

import importlib.util
from functools import cache
from typing import Any


@cache
def gpu_kernels() -> Any:
    """The module of the kernels that choose keys, or None without Triton.

    Nothing imports Triton before a GPU asks for it.
    """
    if importlib.util.find_spec("triton") is None:
        return None
    from sparse_attention.numerics import choosing_kernels

    return choosing_kernels
