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
from sparse_attention.hf.attention import configs_of, forward, our_attention
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.learned.files import output_file
from sparse_attention.program import Parser, number_between
from sparse_attention.protocol import Protocol
from sparse_attention.reading import read_text

_MOST_CHARACTERS = 64
"""Of a token, on average; a text is read as far as its blocks can need it."""


def record(adapter: HuggingFaceAdapter, tokens: Sequence[int], visit: Visit) -> None:
    """Read at least two tokens with dense attention, and show ``visit`` each layer.

    It gets the queries of all tokens but the first, and the keys of all tokens.
    """
    context, rest = adapter.prefill(tokens[:1]), torch.tensor([list(tokens[1:])])
    decoder = Decoder(context, [AttentionConfig()], [""], Protocol(sparse_from="generation"))
    with our_attention(configs_of(adapter.model)), decoder.question(visit):
        forward(adapter.model, rest.to(adapter.model.device), DecoderCache(adapter.model, decoder))


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


def parser(program: str, description: str) -> Parser:
    """The options that calibration programs share."""
    options = Parser(prog=program, description=description)
    options.add_argument("--model", required=True, help="folder, GGUF file or name on the hub")
    options.add_argument("--text", required=True, type=Path, help="UTF-8 text like that to be read")
    options.add_argument("--output", required=True, type=Path, help="FILE.safetensors to write")
    options.add_argument("--device", default="cpu", help="cpu, cuda, ... (default: cpu)")
    options.add_argument("--dtype", default="auto", help="auto, float32, bfloat16 or float16")
    add_number(options, "--length", 512, "tokens of a block", 16, 2**20)
    add_number(options, "--blocks", 256, "at most", 1, 2**16)
    return options


def add_number(options: Parser, name: str, default: int, words: str, low: int, high: int) -> None:
    """Add the option of a whole number between ``low`` and ``high``."""
    help_text = f"{words}, {low} to {high} (default: {default})"
    kind = number_between(low, high)
    options.add_argument(name, type=kind, default=default, metavar="N", help=help_text)


def load(options: argparse.Namespace) -> tuple[HuggingFaceAdapter, list[list[int]]]:
    """The model and the blocks of text that ``parser``'s options name.

    Raises:
        UserError: for an option that cannot be used.
    """
    output_file(options.output)
    text = read_text(options.text, "--text")[: options.length * options.blocks * _MOST_CHARACTERS]
    adapter = HuggingFaceAdapter.load(options.model, device=options.device, dtype=options.dtype)
    if adapter.max_positions is not None and options.length > adapter.max_positions:
        raise UserError(
            f"--length is {options.length}, and the model has {adapter.max_positions} positions"
        )
    return adapter, token_blocks(adapter.tokenizer, text, options.length, options.blocks)
