"""Queries and keys of a model on a text, as its attention layers see them."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from sparse_attention.cache.shared import SharedPrefixCache
from sparse_attention.config import AttentionConfig
from sparse_attention.decode.decoder import LayerSettings, SparseDecoder
from sparse_attention.errors import UserError
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.hf.attention import forward
from sparse_attention.protocol import Protocol

Visit = Callable[[int, Tensor, Tensor, LayerSettings], None]
"""Gets a layer, queries (H, G, n, D) of all tokens but the first, keys (H, n + 1, D) of all tokens,
both after the positions were encoded, and what the layer says about its attention."""


class _Recorder:
    """Dense attention of one row that shows queries and keys to a visitor."""

    position_shifts = (0,)

    def __init__(self, cache: SharedPrefixCache, visit: Visit) -> None:
        self.cache, self._visit = cache, visit
        self._dense = SparseDecoder(
            cache, [AttentionConfig()], [""], Protocol(), measure_error=False
        )

    def attend(self, layer: int, queries: Tensor, settings: LayerSettings) -> Tensor:
        cache = self.cache.layers[layer]
        keys = torch.cat([cache.prefix_keys, cache.tail_keys(slice(None))[0]], 1)
        self._visit(layer, queries[0], keys, settings)
        return self._dense.attend(layer, queries, settings)


def record(adapter: HuggingFaceAdapter, tokens: Sequence[int], visit: Visit) -> None:
    """Read at least two tokens with dense attention, and show ``visit`` each layer."""
    cache = SharedPrefixCache(adapter.prefill(tokens[:1]), rows=1)
    rest = torch.tensor([list(tokens[1:])], device=adapter.model.device)
    forward(adapter.model, rest, _Recorder(cache, visit))


def token_blocks(
    tokenizer: PreTrainedTokenizerBase, text: str, length: int, count: int
) -> list[list[int]]:
    """Up to ``count`` blocks of ``length`` tokens of a text, each with the start token if any.

    Raises:
        UserError: if the text is shorter than one block.
    """
    tokens = tokenizer(text, add_special_tokens=False, verbose=False).input_ids
    start = [] if tokenizer.bos_token_id is None else [tokenizer.bos_token_id]
    step = length - len(start)
    blocks = [start + tokens[i : i + step] for i in range(0, len(tokens) - step + 1, step)]
    if not blocks:
        raise UserError(f"the text has {len(tokens)} tokens; one block takes {step}")
    return blocks[:count]


def parser(description: str) -> argparse.ArgumentParser:
    """The options that calibration programs share."""
    options = argparse.ArgumentParser(description=description)
    options.add_argument("--model", required=True, help="folder or name on the hub")
    options.add_argument("--text", required=True, type=Path, help="UTF-8 text like that to be read")
    options.add_argument("--output", required=True, type=Path, help="FILE.safetensors to write")
    options.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    options.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    options.add_argument("--length", type=int, default=512, help="tokens of a block (default: 512)")
    options.add_argument("--blocks", type=int, default=256, help="at most (default: 256)")
    return options


def load(options: argparse.Namespace) -> tuple[HuggingFaceAdapter, list[list[int]]]:
    """The model and the blocks of text that ``parser``'s options name.

    Raises:
        UserError: for an option that cannot be used.
    """
    if options.length < 16 or options.blocks < 1:
        raise UserError("--length must be at least 16 and --blocks at least 1")
    if options.output.suffix != ".safetensors":
        raise UserError(f"--output must end in .safetensors, got {str(options.output)!r}")
    try:
        text = options.text.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UserError(f"--text {options.text} cannot be read as UTF-8 text: {error}") from error
    adapter = HuggingFaceAdapter.load(options.model, device=options.device, dtype=options.dtype)
    return adapter, token_blocks(adapter.tokenizer, text, options.length, options.blocks)
