"""Rounding to few levels, as if numbers were stored in few bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

UNCHANGED_BITS = 16
"""A number of bits that leaves numbers as they are."""
_RANGE_BYTES = 4
"""The extremes of a rounded vector, two numbers in half precision."""


def round_to_levels(
    values: Tensor, bits: int, dim: int, rounding: Callable[[Tensor], Tensor]
) -> Tensor:
    """``values`` on ``2^bits`` evenly spaced levels between their extremes along ``dim``.

    Asymmetric uniform quantisation: ``low + rounding((x - low) / step) * step`` with
    ``step = (high - low) / (2^bits - 1)``, so that an error is at most half a step for
    ``torch.round``, or one step to one side for ``torch.floor`` and ``torch.ceil``.  16 bits change
    nothing.
    """
    if bits >= UNCHANGED_BITS or not values.numel():
        return values
    low, high = values.aminmax(dim=dim, keepdim=True)
    step = (high - low) / (2**bits - 1)
    steps = rounding((values - low) / step.clamp(min=torch.finfo(values.dtype).tiny))
    return low + steps * step


def vector_bytes(width: int, bits: int, element_size: int) -> float:
    """Bytes of a vector in ``bits`` per number with its extremes, or unchanged."""
    if bits >= UNCHANGED_BITS:
        return width * element_size
    return width * bits / 8 + _RANGE_BYTES
