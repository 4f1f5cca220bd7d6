"""Reading a context in chunks on a GPU without masks.

For a chunk after others transformers makes a mask of all its tokens by all tokens so far.  No fast
kernel takes one: 32768 tokens in chunks of 8192 then take twice the time of attention, and the mask
as much memory as the keys.  That a token sees what is before it can be said in other words.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn
from torch.nn.attention.bias import causal_lower_right
from torch.nn.functional import scaled_dot_product_attention
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from sparse_attention.hf.attention import attention_in_place

_NAME = "sparse_attention_unmasked"


@contextlib.contextmanager
def unmasked(model: PreTrainedModel) -> Iterator[None]:
    """Inside, the model attends without masks, if all that its masks say is the order of tokens."""
    if not _is_plainly_causal(model.config.get_text_config()):
        yield
        return
    with attention_in_place(model, _NAME):
        yield


def _is_plainly_causal(config: PreTrainedConfig) -> bool:
    windowed = getattr(config, "sliding_window", None) is not None
    if hasattr(config, "use_sliding_window"):
        windowed &= bool(config.use_sliding_window)
    kinds = set(getattr(config, "layer_types", None) or ["full_attention"])
    chunked = getattr(config, "attention_chunk_size", None) is not None
    plain = config._attn_implementation == "sdpa" and not windowed and not chunked
    return plain and kinds == {"full_attention"}


def _attention_forward(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **given: Any,
) -> tuple[Tensor, None]:
    """As transformers calls it; see ``sdpa_attention_forward``, which does what is usual."""
    count, total = query.shape[2], key.shape[2]
    if attention_mask is not None or count in (1, total):
        return sdpa_attention_forward(
            module, query, key, value, attention_mask, scaling=scaling, **given
        )
    output = scaled_dot_product_attention(
        query,
        key,
        value,
        attn_mask=causal_lower_right(count, total),
        scale=scaling,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return output.transpose(1, 2).contiguous(), None


ALL_ATTENTION_FUNCTIONS.register(_NAME, _attention_forward)
