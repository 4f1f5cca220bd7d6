"""What goes wrong while samples are answered, and what it means."""

from __future__ import annotations

import torch

from benchmark.results.records import Reason
from sparse_attention.errors import NotFinite
from sparse_attention.prompt import PromptTooLong

_OUT_OF_MEMORY = (
    *("not enough memory: you tried to allocate", "can't allocate memory"),  # on a CPU
    "CUDA error: out of memory",
)


def reason_of(error: Exception) -> Reason:
    """Why a sample failed, in the words of records."""
    if is_out_of_memory(error):
        return "out_of_memory"
    if isinstance(error, PromptTooLong):
        return "prompt_too_long"
    return "not_finite" if isinstance(error, NotFinite) else "error"


def describe_error(error: BaseException) -> str:
    """Type and message of an error in one short line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]


def is_device_lost(error: Exception) -> bool:
    """Whether CUDA has failed in a way after which every call in this process fails as well."""
    of_cuda = isinstance(error, torch.AcceleratorError) or "CUDA error: " in str(error)
    return of_cuda and not is_out_of_memory(error)


def is_out_of_memory(error: Exception) -> bool:
    """Whether memory of any kind ran out."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        phrase in str(error) for phrase in _OUT_OF_MEMORY
    )
