"""Keys and values that may lie in the same memory.

With multi-head latent attention a token has one vector: all of it is the key, its first channels
are the value.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor


def is_part(values: Tensor, keys: Tensor) -> bool:
    """Whether values are a view of the first channels of keys; not if there are none."""
    return (
        keys.numel() > 0  # all empty tensors have the same address
        and values.data_ptr() == keys.data_ptr()
        and values.shape[:-1] == keys.shape[:-1]
        and values.stride() == keys.stride()
        and values.dtype == keys.dtype
    )


def both(keys: Tensor, values: Tensor, change: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
    """What ``change`` makes of keys and values; values that are a part of the keys stay one."""
    changed = change(keys)
    if is_part(values, keys):
        return changed, changed[..., : values.shape[-1]]
    return changed, change(values)


def joined(first: tuple[Tensor, Tensor], then: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Keys and values (H, n, D) of tokens and of those that come after them."""
    keys = torch.cat([first[0], then[0]], 1)
    if is_part(first[1], first[0]):
        return keys, keys[..., : first[1].shape[-1]]
    return keys, torch.cat([first[1], then[1]], 1)


def pair_nbytes(keys: Tensor, values: Tensor) -> int:
    """Bytes of keys and values, those that are both counted once."""
    return keys.nbytes if is_part(values, keys) else keys.nbytes + values.nbytes
