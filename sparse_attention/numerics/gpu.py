"""Whether kernels for a GPU can be had."""

from __future__ import annotations

import importlib.util
from functools import cache
from types import ModuleType
from typing import Literal


@cache
def has_triton() -> bool:
    """Whether Triton is installed; it is not imported before a GPU needs it."""
    return importlib.util.find_spec("triton") is not None


@cache
def gpu_kernels(kind: Literal["choosing", "hashing", "counting"]) -> ModuleType | None:
    """The module of such kernels, or None without Triton."""
    if not has_triton():
        return None
    return importlib.import_module(f"sparse_attention.numerics.{kind}_kernels")
