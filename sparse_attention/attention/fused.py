"""Attention over a compact selection by kernels of a GPU, where there is one and they are faster.

``listed`` and ``paths`` compute the same with torch, and are what these are judged by.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.selection import Selection
from sparse_attention.numerics.gpu import has_triton

if TYPE_CHECKING:
    from torch import Tensor

_DTYPES = (torch.float32, torch.bfloat16, torch.float16)
_WIDEST = 256
_MOST_MEMBERS = 64
_SPANS = 2
_SCORE_PASSES = 10
"""How often the masked way reads or writes a float32 for each key and query head."""


def fused_pays(call: AttentionCall, selection: Selection) -> bool:
    """Whether the kernels can compute it, and read fewer bytes than masking all scores would."""
    compact, segment = selection.compact, call.view.segment
    if not call.queries.is_cuda or compact is None or call.visible is not None:
        return False
    rows, heads, group, _, keys = call.shape
    sizes = (compact.width,) if compact.sizes is None else compact.sizes
    read = sum(sizes) * (rows // len(sizes))
    lists = compact.lines[2]
    width, value_width = segment.keys.shape[-1], segment.values.shape[-1]
    possible = (
        segment.keys.dtype in _DTYPES
        and max(width, value_width) <= _WIDEST
        and group // lists <= _MOST_MEMBERS
        and len(compact.spans) <= _SPANS
        and has_triton()
    )
    size = segment.keys.element_size()
    fused = read * heads * lists * (width + value_width) * size
    scores = rows * heads * group * keys * 4 * _SCORE_PASSES
    return possible and fused < scores + heads * keys * value_width * size


def fused_attention(
    call: AttentionCall, selection: Selection, sink_logits: Tensor | None, out: Tensor
) -> None:
    """Write the attention over a selection to ``out``, float32 (R, H, G, 1, Dv).

    Of single queries that see every key.
    """
    compact, view = selection.compact, call.view
    assert compact is not None
    rows, heads = call.shape[:2]
    index = counts = weights = None
    if compact.indices is not None:
        index, counts, weights = compact.indices.lists((rows, heads, compact.lines[2]))
    from sparse_attention.attention import triton_kernel  # a GPU asks for it

    triton_kernel.attend(
        call.queries[:, :, :, 0],
        view.segment.keys.expand(rows, -1, -1, -1),
        view.segment.values.expand(rows, -1, -1, -1),
        view.tail_keys,
        view.tail_values,
        compact.spans,
        index,
        counts,
        weights,
        scaling=call.scaling,
        softcap=call.softcap,
        sinks=sink_logits,
        out=out[:, :, :, 0],
    )
