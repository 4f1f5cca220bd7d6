"""Our attention in place of the model's own.

It goes through the attention interface (``ALL_ATTENTION_FUNCTIONS``): a function that every
attention module of a supporting architecture looks up by the name in its configuration at each
forward.  Names without an entry among the mask functions get no mask, which is what we want:
visibility is ours to compute.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sparse_attention.decode.batch import BatchDecoder
from sparse_attention.decode.decoder import Decoder
from sparse_attention.errors import UserError
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.model_facts import LayerSettings

ATTENTION_NAME = "sparse_attention_selection"


@torch.inference_mode()
def forward(model: PreTrainedModel, tokens: Tensor, cache: DecoderCache) -> Tensor:
    """Process new tokens (rows, n) inside ``our_attention``; logits after the last one, float32.

    Returns:
        (rows, vocabulary).
    """
    decoder, start = cache.decoder, cache.get_seq_length()
    positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
    shifts = torch.tensor(decoder.position_shifts, device=tokens.device)
    output = model(
        input_ids=tokens,
        position_ids=positions - shifts[: tokens.shape[0], None],
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        sparse_decoder=decoder,
    )
    return output.logits[:, -1].float()


def our_attention(model: PreTrainedModel) -> contextlib.AbstractContextManager[None]:
    """Put our attention in place of the model's; undone on exit and on error."""
    return attention_in_place(model, ATTENTION_NAME)


@contextlib.contextmanager
def attention_in_place(model: PreTrainedModel, name: str) -> Iterator[None]:
    """Put a registered attention function in place of the model's; undone on exit and on error."""
    found: list[Any] = [m.config for m in model.modules() if hasattr(m, "config")]
    configs = {id(config): config for config in found}.values()
    before = [(config, config._attn_implementation) for config in configs]
    try:
        for config in configs:
            config._attn_implementation = name
        yield
    finally:
        for config, own in before:
            config._attn_implementation = own


def _attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    sparse_decoder: Decoder | BatchDecoder | None = None,
    position_bias: Tensor | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """Our attention as an attention module calls it; new keys are in the decoder's tails already.

    Args:
        module: the attention module.
        query: (rows, heads, n, head_dim).
        key: new keys (rows, kv_heads, n, head_dim), only looked at for their shape.
        value: not used.
        attention_mask: None, unless the module makes one of its own.
        sparse_decoder: whose tails hold the new keys and values.
        position_bias: not supported.
        given: ``scaling`` of the products (1 / sqrt(head_dim) if None), ``sliding_window`` (keys
            that a query sees), ``softcap`` of the scores and ``s_aux`` (learned sink logits).

    Returns:
        (rows, n, heads, head_dim) in the dtype of ``query``, and None for the weights.
    """
    if sparse_decoder is None:
        raise UserError("it does not hand keyword arguments on to its attention function")
    if position_bias is not None:
        raise UserError("it adds a bias by position to its attention scores")
    # One that adds the same to all keys of a query changes nothing.
    if attention_mask is not None and not bool((attention_mask == attention_mask[..., :1]).all()):
        raise UserError("it adds a mask to its attention scores that it computes from what it read")
    rows, heads, count, width = query.shape
    kv_heads = key.shape[1]
    group = heads // kv_heads
    settings = attention_settings(kv_heads, group, width, **given)
    layer = module.layer_idx
    assert isinstance(layer, int)
    output = sparse_decoder.attend(layer, query.view(rows, kv_heads, group, count, width), settings)
    output = output.reshape(rows, heads, count, -1).transpose(1, 2).contiguous()
    return output.to(query.dtype), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION_NAME, _attention_forward)


def attention_settings(
    kv_heads: int,
    group: int,
    width: int,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    **_: Any,
) -> LayerSettings:
    """From the keywords of an attention function."""
    return LayerSettings(
        scaling=width**-0.5 if scaling is None else scaling,
        sliding_window=sliding_window,
        softcap=softcap,
        sink_logits=None if s_aux is None else s_aux.view(kv_heads, group),
    )
