"""Causal attention of a chunk over what was read before it, without a mask over both.

A mask has a number for each query and key: gigabytes for a chunk of 8192 at 128k tokens, and no
fast kernel of a GPU takes one.  Yet all that it says is that the chunk sees everything before
itself, and itself causally.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, causal_mask_function
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

_NAME = "sdpa"
"""The implementation of attention for which this is done: others have no causal flag, or make no
masks."""


@contextlib.contextmanager
def chunks_without_masks(model: PreTrainedModel) -> Iterator[None]:
    """Inside, forwards after the first one make no mask where it would only be causal.

    For models with PyTorch's attention on a CPU or a GPU; others are left as they are.
    """
    name = model.config.get_text_config()._attn_implementation
    if name != _NAME or model.device.type not in ("cpu", "cuda"):
        yield
        return
    own_mask: Any = ALL_MASK_ATTENTION_FUNCTIONS[_NAME]
    own_attention: Any = ALL_ATTENTION_FUNCTIONS[_NAME]

    def mask(*given: Any, **named: Any) -> Tensor | None:
        return None if not given and _is_plain(**named) else own_mask(*given, **named)

    def attend(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Tensor | None,
        **named: Any,
    ) -> Any:
        count, before = query.shape[2], key.shape[2] - query.shape[2]
        causal = named.get("is_causal")
        causal = getattr(module, "is_causal", True) if causal is None else causal
        if attention_mask is None and causal and count > 1 and before > 0:
            if _is_usual(query, value, named):
                over_all = _lower_right if query.is_cuda else _join
                output = over_all(query, key, value, named.get("scaling"))
                return output.transpose(1, 2).contiguous(), None
            whole = torch.ones(count, before + count, dtype=torch.bool, device=query.device)
            attention_mask = whole.tril_(before)[None, None]
        return own_attention(module, query, key, value, attention_mask, **named)

    with (
        _replaced(ALL_MASK_ATTENTION_FUNCTIONS, mask),
        _replaced(ALL_ATTENTION_FUNCTIONS, attend),
    ):
        yield


@contextlib.contextmanager
def _replaced(functions: Any, function: Callable[..., Any]) -> Iterator[None]:
    before = functions._local_mapping.get(_NAME)
    functions[_NAME] = function
    try:
        yield
    finally:
        del functions[_NAME]
        if before is not None:
            functions[_NAME] = before


def _is_plain(
    mask_function: Callable[..., Any] = causal_mask_function,
    attention_mask: Tensor | None = None,
    local_size: int | None = None,
    allow_is_causal_skip: bool = True,
    q_length: int = 0,
    kv_length: int = 0,
    q_offset: int | Tensor = 0,
    kv_offset: int = 0,
    **_: Any,
) -> bool:
    """Whether a mask would say no more than that each token sees those before it, and itself."""
    return (
        mask_function is causal_mask_function
        and attention_mask is None
        and local_size is None
        and allow_is_causal_skip
        and kv_offset == 0
        and isinstance(q_offset, int)
        and q_offset + q_length == kv_length
    )


def _is_usual(query: Tensor, value: Tensor, named: dict[str, Any]) -> bool:
    extras = [name for name in ("position_bias", "softcap", "s_aux") if named.get(name) is not None]
    return query.shape[-1] == value.shape[-1] and not named.get("dropout") and not extras


def _lower_right(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """Attention of the last queries over all keys: (rows, heads, n, head_dim)."""
    return scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=causal_lower_right(query.shape[2], key.shape[2]),
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )


def _join(query: Tensor, key: Tensor, value: Tensor, scaling: float | None) -> Tensor:
    """The same by kernels of a processor, which know no such order of queries and keys."""
    before = key.shape[2] - query.shape[2]
    earlier, weight = _attention(query, key[:, :, :before], value[:, :, :before], scaling, False)
    own, own_weight = _attention(query, key[:, :, before:], value[:, :, before:], scaling, True)
    # Each part is normalised by the sum of its own weights, whose logarithm comes with it.
    share = torch.sigmoid(weight - own_weight)[..., None]
    exact = torch.promote_types(own.dtype, torch.float32)
    joint = own.to(exact).lerp_(earlier.to(exact), share.to(exact))
    return joint.to(query.dtype)


def _attention(
    query: Tensor, key: Tensor, value: Tensor, scaling: float | None, causal: bool
) -> tuple[Tensor, Tensor]:
    """Outputs, and the logarithm of the sum of the weights of each query."""
    flash = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    output, weight = flash(query, key, value, 0.0, causal, scale=scaling)
    return output, weight
