"""What torch has for attention of a token: over all keys, over lists of keys and over blocks."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

KV_HEADS, GROUP, WIDTH = 8, 4, 128
SHARE = 0.05
"""Of the keys, that a selection reads."""
FLEX_BLOCK = 128


def dense_kernels(
    queries: Tensor, keys: Tensor, values: Tensor, flex: bool
) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """What torch has for attention of (B, H, G, D) over all keys."""
    batch = queries.shape[0]
    one = queries.reshape(batch, KV_HEADS * GROUP, 1, WIDTH)

    def sdpa(backend: SDPBackend, asked: Tensor) -> Tensor:
        grouped = asked.shape[1] > KV_HEADS
        with sdpa_kernel(backend):
            return scaled_dot_product_attention(asked, keys, values, enable_gqa=grouped)

    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        name = backend.name.lower().removesuffix("_attention")
        yield f"sdpa {name}", lambda b=backend: sdpa(b, one)
        # Query heads of a group as queries of one head: without a mask it is the same attention.
        yield f"sdpa {name}, group as queries", lambda b=backend: sdpa(b, queries)
    if flex:
        from torch.nn.attention.flex_attention import flex_attention

        compiled = torch.compile(flex_attention, dynamic=False)
        yield "flex_attention", lambda: compiled(one, keys, values, enable_gqa=True)


def flex_selected(
    queries: Tensor, keys: Tensor, values: Tensor, index: Tensor
) -> Iterator[tuple[str, Callable[[], Tensor]]]:
    """FlexAttention over as many keys: those of a list one by one, and whole blocks of 128.

    It skips blocks only; where a list has a key in every block it reads everything.
    """
    from torch.nn.attention.flex_attention import BlockMask, flex_attention

    batch, length, device = queries.shape[0], keys.shape[2], queries.device
    one = queries.reshape(batch, KV_HEADS * GROUP, 1, WIDTH)
    read = torch.zeros(batch, KV_HEADS, length, dtype=torch.bool, device=device)
    read.scatter_(-1, index[:, :, 0].long(), True)

    def is_read(row: Tensor, head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        return read[row, head // GROUP, key]

    def over_blocks(read_blocks: Tensor, exact: bool) -> BlockMask:
        """Of the blocks, bool (B, H, n), those that are true; all of each unless ``exact``."""
        order = (~read_blocks).sort(dim=-1, stable=True).indices.int()[:, :, None]
        counts = read_blocks.sum(-1, dtype=torch.int32)[:, :, None]
        order, counts = (part.repeat_interleave(GROUP, 1) for part in (order, counts))
        none = torch.zeros_like(counts)
        partly, wholly = (counts, none) if exact else (none, counts)
        return BlockMask.from_kv_blocks(
            partly,
            order,
            wholly,
            order,
            BLOCK_SIZE=FLEX_BLOCK,
            mask_mod=is_read if exact else None,
            seq_lengths=(1, length),
        )

    blocks = length // FLEX_BLOCK
    with_keys = read.unflatten(-1, (blocks, FLEX_BLOCK)).any(-1)
    chosen = torch.rand(batch, KV_HEADS, blocks, device=device).argsort(-1) < SHARE * blocks
    compiled = torch.compile(flex_attention, dynamic=False)
    for name, mask in (
        ("flex_attention, single keys", over_blocks(with_keys, True)),
        ("flex_attention, blocks of 128", over_blocks(chosen, False)),
    ):
        yield (
            name,
            lambda m=mask: compiled(one, keys, values, block_mask=m, enable_gqa=True),
        )


def gathered(queries: Tensor, keys: Tensor, values: Tensor, index: Tensor) -> Tensor:
    """Attention over lists with what torch has: collect, then SDPA; no weights, equal counts."""
    lines = index[:, :, 0, :, None].long().expand(-1, -1, -1, WIDTH)
    return scaled_dot_product_attention(queries, keys.gather(2, lines), values.gather(2, lines))
