"""Tails of rows whose keys were re-rotated: new tokens have lower positions than their places."""

from __future__ import annotations

import torch
from torch import Tensor

from sparse_attention.model_facts import Rotary


def moved(keys: Tensor, distance: int, rotary: Rotary, first: int = 0) -> Tensor:
    """A copy of keys or queries (..., t, D), turned as if they stood ``distance`` further on.

    Only those from number ``first`` on are turned.
    """
    turned = keys.clone()
    part = keys[..., first:, :].flatten(0, -3)
    by = torch.full(part.shape[:2], distance, device=keys.device)
    turned[..., first:, :] = rotary.rotate(part, by).to(keys.dtype).view_as(keys[..., first:, :])
    return turned
