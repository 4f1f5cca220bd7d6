"""Find the channels that double sparsity reads, for any model.

    python -m sparse_attention.calibration.double_sparsity --model MODEL --text text.txt
        --output MODEL/double_sparsity.safetensors

For each query head the channels are ordered by the mean of ``|q_c k_c|`` over all tokens, query and
key of the same token after rotary position encoding (kind ``qk_proj``).
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from sparse_attention.calibration.recording import load, parser, record
from sparse_attention.decode.decoder import LayerSettings
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.learned.channels import METHOD
from sparse_attention.learned.files import write_file
from sparse_attention.program import run_program

KIND = "qk_proj"


def channel_weights(
    adapter: HuggingFaceAdapter, blocks: Sequence[Sequence[int]]
) -> dict[int, Tensor]:
    """Mean of ``|q_c k_c|`` over the tokens of ``blocks``, by layer, float64 (heads, head_dim)."""
    sums: dict[int, Tensor] = {}

    def visit(layer: int, queries: Tensor, keys: Tensor, _: LayerSettings) -> None:
        products = (queries.float() * keys[:, None, 1:].float()).abs().double()
        total = products.sum(2).flatten(0, 1).cpu()
        sums[layer] = sums.get(layer, torch.zeros_like(total)) + total

    tokens = 0
    for block in blocks:
        record(adapter, block, visit)
        tokens += len(block) - 1
    return {layer: total / tokens for layer, total in sorted(sums.items())}


def calibrate(adapter: HuggingFaceAdapter, blocks: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """The tensors of a calibration file: ``layers.{i}.qk_proj``, int16 (heads, head_dim)."""
    return {
        f"layers.{layer}.{KIND}": weights.argsort(stable=True, dim=-1, descending=True).short()
        for layer, weights in channel_weights(adapter, blocks).items()
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    options = parser(METHOD, (__doc__ or "").splitlines()[0]).parse_args(arguments)

    def work() -> int:
        adapter, blocks = load(options)
        settings = {"blocks": len(blocks), "length": options.length, "text": options.text.name}
        tensors = calibrate(adapter, blocks)
        write_file(options.output, METHOD, tensors, settings, adapter.profile)
        print(f"wrote {options.output}: {len(tensors)} layers from {len(blocks)} blocks of text")
        return 0

    return run_program(METHOD, work)


if __name__ == "__main__":
    sys.exit(main())
