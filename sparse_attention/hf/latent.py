"""Multi-head latent attention (MLA), done on what the cache holds.

The cache of such a layer holds one vector for each token, from which a matrix for each head makes
its key and its value.  The product of a query with a key is that of another query with this vector,
and a sum of values is made from the sum of the vectors, so that neither keys nor values of heads
are needed: all query heads share one key-value head, whose key is the vector and whose value is its
compressed part.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparse_attention.errors import UserError


class Latent:
    """How one attention module makes keys and values of what it caches."""

    def __init__(self, module: nn.Module, keys: Tensor, values: Tensor) -> None:
        """Find out with unit vectors, which needs no knowledge of how weights are stored.

        Args:
            module: of the attention.
            keys: as it gives them to a cache, (..., n, width): what values are made of.
            values: the same: the part of keys that knows positions.
        """
        expand: Any = module.expand_kv
        compressed, width = keys.shape[-1], keys.shape[-1] + values.shape[-1]
        units = torch.eye(width, dtype=keys.dtype, device=keys.device)[None, None]
        keys, values = expand(units[..., :compressed], units[..., compressed:])
        zero = torch.zeros_like(units[:, :, :1])
        offsets = expand(zero[..., :compressed], zero[..., compressed:])
        if any(bool(offset.any()) for offset in offsets) or bool(values[0, :, compressed:].any()):
            raise UserError("it makes keys or values of what it caches in a way that is not linear")
        self._keys, self._values = keys[0], values[0, :, :compressed]

    def queries(self, queries: Tensor) -> Tensor:
        """Queries (R, heads, n, D) of heads as they meet what is cached: (R, heads, n, width)."""
        return queries @ self._keys.mT

    def outputs(self, sums: Tensor) -> Tensor:
        """Outputs (R, heads, n, D) of heads, of weighted sums (R, heads, n, compressed)."""
        return sums.to(self._values.dtype) @ self._values

    @property
    def values(self) -> Tensor:
        """(heads, compressed, D): what makes values."""
        return self._values


def latent_modules(model: nn.Module) -> dict[int, nn.Module]:
    """The attention modules that make keys and values of what they cache, by layer of the cache."""
    return {
        module.layer_idx: module  # type: ignore[misc]
        for module in model.modules()
        if hasattr(module, "expand_kv")
    }


def as_held(keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Keys and values of one head, of the two tensors (..., n, width) that such a layer caches."""
    held = torch.cat([keys, values], -1)
    return held, held[..., : keys.shape[-1]]
