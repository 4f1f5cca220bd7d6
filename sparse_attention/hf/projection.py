"""The matrix behind an attention module's output projection, also where it is quantised."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from sparse_attention.hf.latent import Latent

_NAMES = ("o_proj", "out_proj", "dense", "c_proj", "wo", "Wo", "attention_output")
"""What architectures call it."""
_TOLERANCE = 0.05
"""Relative difference between a projection and its matrix, for half precision and int8."""


@torch.inference_mode()
def output_weight(
    module: nn.Module, kv_heads: int, group: int, like: Tensor, latent: Latent | None = None
) -> Tensor | None:
    """What the output projection makes of each query head.

    Args:
        module: of the attention.
        kv_heads: of the layer.
        group: query heads for each.
        like: of the dtype and on the device of what the projection gets.
        latent: what makes values of what is held, if anything does.

    Returns:
        (kv_heads, group, head_dim, hidden), a view where the weight is a plain matrix of true
        values; None if there is no such projection or it is not linear.
    """
    found = [getattr(module, name, None) for name in _NAMES]
    projection: Any = next((one for one in found if isinstance(one, nn.Module)), None)
    if projection is None:
        return None
    matrix = projection.weight.T if _is_plain(projection) else _by_unit_vectors(projection, like)
    if matrix is None or matrix.shape[0] % (kv_heads * group):
        return None
    if latent is not None:
        heads = matrix.unflatten(0, (kv_heads * group, -1))
        matrix = (latent.values.to(heads) @ heads).flatten(0, 1)
    return matrix.unflatten(0, (kv_heads, group, -1))


def _is_plain(projection: Any) -> bool:
    """Whether its weight is what it multiplies with: not packed, scaled, wrapped or elsewhere."""
    if type(projection) is not nn.Linear or "forward" in vars(projection):
        return False
    weight = projection.weight
    return (
        type(weight) in (nn.Parameter, Tensor)
        and weight.dtype in (torch.float64, torch.float32, torch.bfloat16, torch.float16)
        and not weight.is_meta
        and weight.shape == (projection.out_features, projection.in_features)
    )


def _by_unit_vectors(projection: nn.Module, like: Tensor) -> Tensor | None:
    """(in, out): what its own library makes of each unit vector, which needs no knowledge of how
    the weight is stored; None if that is not what the projection does with other vectors.
    """
    width = getattr(projection, "in_features", None)
    if not isinstance(width, int):
        return None
    probe = torch.linspace(-1, 1, width, device=like.device).to(like.dtype)[None]
    try:
        offset = projection(torch.zeros_like(probe)).float()
        matrix = projection(torch.eye(width, dtype=like.dtype, device=like.device)).float() - offset
        expected, found = projection(probe).float(), probe.float() @ matrix + offset
    except (RuntimeError, ValueError, TypeError, NotImplementedError):
        return None
    error = (found - expected).norm() / expected.norm().clamp(min=1e-12)
    return matrix if bool(error <= _TOLERANCE) else None
