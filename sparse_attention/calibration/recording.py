"""Queries and keys of a model on a text, as its attention layers see them."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import PreTrainedTokenizerBase

from sparse_attention.config import AttentionConfig
from sparse_attention.decode.decoder import Decoder, Visit
from sparse_attention.errors import UserError
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.hf.attention import forward, our_attention
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.protocol import Protocol


def record(adapter: HuggingFaceAdapter, tokens: Sequence[int], visit: Visit) -> None:
    """Read at least two tokens with dense attention, and show ``visit`` each layer.

    It gets the queries of all tokens but the first, and the keys of all tokens.
    """
    context, rest = adapter.prefill(tokens[:1]), torch.tensor([list(tokens[1:])])
    decoder = Decoder(context, [AttentionConfig()], [""], Protocol(sparse_from="generation"))
    with our_attention(adapter.model), decoder.question(visit):
        forward(adapter.model, rest.to(adapter.model.device), DecoderCache(decoder))


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
