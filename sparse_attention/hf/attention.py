"""Our attention in place of the model's own.

It goes through the attention interface (``ALL_ATTENTION_FUNCTIONS``): a function that every
attention module of a supporting architecture looks up by the name in its configuration at each
forward.  Names without an entry among the mask functions get no mask, which is what we want:
visibility is ours to compute.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    PreTrainedModel,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sparse_attention.errors import UserError
from sparse_attention.hf.cache import DecoderCache, RowCache
from sparse_attention.hf.states import goes_on_at_once

ATTENTION_NAME = "sparse_attention_selection"
_current: ContextVar[RowCache | None] = ContextVar("current", default=None)
"""The cache of the forward that runs: not every model hands keywords on to its attention."""


@torch.inference_mode()
def forward(model: PreTrainedModel, tokens: Tensor, cache: DecoderCache) -> Tensor:
    """Process new tokens (rows, n) inside ``our_attention``; logits after the last one, float32.

    Returns:
        (rows, vocabulary).
    """
    if tokens.shape[1] > 1 and not goes_on_at_once(model):
        return [forward(model, token, cache) for token in tokens.split(1, 1)][-1]
    start = cache.get_seq_length()
    positions = torch.arange(start, start + tokens.shape[1], device=tokens.device)
    shifts = torch.tensor(cache.decoder.position_shifts, device=tokens.device)
    cache.spread_states(tokens.shape[0])
    with reading(cache):
        output = model(
            input_ids=tokens,
            position_ids=positions - shifts[: tokens.shape[0], None],
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        )
    return output.logits[:, -1].float()


@contextlib.contextmanager
def reading(cache: RowCache) -> Iterator[None]:
    """Inside, our attention is that of a cache's rows."""
    before = _current.set(cache)
    try:
        yield
    finally:
        _current.reset(before)


def configs_of(model: PreTrainedModel) -> list[Any]:
    """The configurations of a model and its parts, each once."""
    found: list[Any] = [m.config for m in model.modules() if hasattr(m, "config")]
    return list({id(config): config for config in found}.values())


@contextlib.contextmanager
def our_attention(configs: Sequence[Any]) -> Iterator[None]:
    """Put our attention in place of that of a model with these; undone on exit and on error."""
    before = [(config, config._attn_implementation) for config in configs]
    try:
        for config in configs:
            config._attn_implementation = ATTENTION_NAME
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
    position_bias: Tensor | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """Our attention as an attention module calls it; the cache has the new keys already.

    Args:
        module: the attention module.
        query: (rows, heads, n, head_dim).
        key: new keys (rows, kv_heads, n, head_dim), only looked at for their shape.
        value: not used.
        attention_mask: None, unless the module makes one of its own.
        position_bias: not supported.
        given: ``scaling`` of the products (1 / sqrt(head_dim) if None), ``sliding_window`` (keys
            that a query sees), ``softcap`` of the scores and ``s_aux`` (learned sink logits).

    Returns:
        (rows, n, heads, head_dim) in the dtype of ``query``, and None for the weights.
    """
    cache = _current.get()
    assert cache is not None, "our attention is asked for outside of a forward of ours"
    assert cache.batch is not None, "a forward begins with the prompts"
    if position_bias is not None:
        raise UserError("it adds a bias by position to its attention scores")
    # One that adds the same to all keys of a query changes nothing.
    if attention_mask is not None and not bool((attention_mask == attention_mask[..., :1]).all()):
        raise UserError("it adds a mask to its attention scores that it computes from what it read")
    read = cache.reads.read(module, query, key, given)
    attended = cache.batch.attend(read.layer, read.queries, read.settings, observed=read.first)
    output = read.outputs(attended)
    return output.transpose(1, 2).to(query.dtype).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION_NAME, _attention_forward)
