"""Learn the bits of queries and keys that HashAttention compares, for any model.

    python -m sparse_attention.calibration.hash_attention --model MODEL --text text.txt
        --output MODEL/hash_attention.safetensors

For each layer, one small network per query head and one per key-value head map queries and keys to
b numbers.  Their tanh stands for the sign while they learn; ``s tanh(f(q)) . tanh(g(k)) + t``, with
s and t learned per query head, is the logit of "k is among the heaviest keys of q", trained by
binary cross-entropy.  Heaviest are the ``share`` of the keys with the highest scores; they count as
much as all the others together.  The last eighth of the text is held out; on it the program
measures the recall: the share of the heaviest keys that are among as many keys by bits.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from sparse_attention.calibration.recording import (
    add_number,
    load,
    parser,
    record,
)
from sparse_attention.decode.decoder import LayerSettings
from sparse_attention.errors import UserError
from sparse_attention.hf.adapter import HuggingFaceAdapter
from sparse_attention.learned.files import write_file
from sparse_attention.learned.hash_networks import (
    ACTIVATIONS,
    METHOD,
    Network,
    apply_network,
    network_tensors,
)
from sparse_attention.model_facts import HeadShape, ModelProfile
from sparse_attention.numerics.heaviest import largest
from sparse_attention.numerics.tensors import keyed_generator
from sparse_attention.program import number_between, run_program

_WARM_UP = 16
"""First queries of a block, which have too few keys to choose from."""
_QUERIES = 96
"""Queries of a block that a step learns from."""
_MOST_NUMBERS = 2**28
"""Of all networks together: 4 GiB with gradients and what Adam keeps; the default networks of a
model with 80 layers, 64 query heads and 8 key-value heads have 213 million."""


@dataclass(frozen=True)
class Training:
    """How the networks are made and learn."""

    bits: int = 32
    hidden: int = 128
    depth: int = 3
    """Layers of a network."""
    activation: str = "silu"
    share: float = 0.05
    """Keys that count as heavy."""
    steps: int = 600
    rate: float = 3e-3
    """Learning rate at the start; it falls to 0 along a cosine."""
    seed: int = 0


class Example(NamedTuple):
    """Queries and keys of one layer on one block of text."""

    queries: Tensor
    """float32 (heads, n, D)."""
    keys: Tensor
    """float32 (kv_heads, m, D)."""
    visible: Tensor
    """bool (n, m)."""
    heavy: Tensor
    """bool (heads, n, m), the keys with the highest scores."""


class LayerHashes:
    """The networks of one layer while they learn."""

    def __init__(self, shape: HeadShape, layer: int, how: Training) -> None:
        generator = keyed_generator(torch.device("cpu"), METHOD, how.seed, layer)
        sizes = [shape.head_dim, *[how.hidden] * (how.depth - 1), how.bits]

        def network(count: int) -> list[tuple[Tensor, Tensor]]:
            return [
                (
                    torch.randn(count, a, b, generator=generator).div_(a**0.5).requires_grad_(),
                    torch.zeros(count, b).requires_grad_(),
                )
                for a, b in pairwise(sizes)
            ]

        self._how = how
        self._query, self._key = network(shape.heads), network(shape.kv_heads)
        self._scale = torch.full((shape.heads, 1, 1), 0.3).requires_grad_()
        self._shift = torch.full((shape.heads, 1, 1), -2.0).requires_grad_()
        tensors = [tensor for pair in (*self._query, *self._key) for tensor in pair]
        self._optimizer = torch.optim.Adam([*tensors, self._scale, self._shift], lr=how.rate)
        self._schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self._optimizer, how.steps)

    def learn(self, example: Example) -> None:
        """Take one step."""
        asked, kept = self._codes(example, torch.tanh)
        logits = self._scale * (asked @ kept.mT) + self._shift
        heavy = example.heavy.float()
        balance = (example.visible.sum(-1, keepdim=True) - heavy.sum(-1, keepdim=True)) / heavy.sum(
            -1, keepdim=True
        ).clamp(min=1)
        weights = torch.where(example.heavy, balance, 1.0) * example.visible
        loss = F.binary_cross_entropy_with_logits(logits, heavy, weights, reduction="sum")
        self._optimizer.zero_grad()
        (loss / weights.sum()).backward()
        self._optimizer.step()
        self._schedule.step()

    @torch.no_grad()
    def recall(self, example: Example) -> float:
        """Share of the heavy keys that are among as many keys by bits."""
        asked, kept = self._codes(example, lambda numbers: (numbers >= 0).float() * 2 - 1)
        scores = (asked @ kept.mT).masked_fill(~example.visible, -torch.inf)
        count = example.heavy.sum(-1, keepdim=True)
        found = largest(scores, count) & example.heavy
        return float((found.sum(-1, keepdim=True) / count).mean())

    def tensors(self, layer: int) -> dict[str, Tensor]:
        """The tensors of a file, in half precision."""
        networks: dict[str, Network] = {
            side: tuple((w.detach().half(), b.detach().half()) for w, b in network)
            for side, network in (("query", self._query), ("key", self._key))
        }
        return {
            name: tensor
            for side, network in networks.items()
            for name, tensor in network_tensors(layer, side, network).items()
        }

    def _codes(self, example: Example, sign: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        asked = apply_network(self._query, example.queries, self._how.activation)
        kept = apply_network(self._key, example.keys, self._how.activation)
        group = asked.shape[0] // kept.shape[0]
        return sign(asked), sign(kept).repeat_interleave(group, 0)


def examples(
    adapter: HuggingFaceAdapter, block: Sequence[int], share: float, generator: torch.Generator
) -> dict[int, Example]:
    """Some queries of a block of text with all keys, by layer."""
    found: dict[int, Example] = {}
    count = len(block) - 1
    chosen = _WARM_UP + torch.randperm(count - _WARM_UP, generator=generator)[:_QUERIES]

    def visit(layer: int, queries: Tensor, keys: Tensor, settings: LayerSettings) -> None:
        asked = queries[:, :, chosen.to(queries.device)].float()
        scores = torch.einsum("hgqd,hkd->hgqk", asked, keys.float()).flatten(0, 1).cpu()
        distance = chosen[:, None] + 1 - torch.arange(count + 1)
        visible = (distance >= 0) & (distance < (settings.sliding_window or count + 2))
        if settings.chunk is not None:
            visible &= (chosen[:, None] + 1) // settings.chunk == (
                torch.arange(count + 1) // settings.chunk
            )
        size = (visible.sum(-1, keepdim=True) * share).long().clamp(min=1)
        heavy = largest(scores.masked_fill(~visible, -torch.inf), size)
        # Copies, because what is made in inference mode cannot be learned from.
        with torch.inference_mode(False):
            found[layer] = Example(
                asked.flatten(0, 1).cpu().clone(),
                keys.float().cpu().clone(),
                visible.clone(),
                heavy.clone(),
            )

    record(adapter, block, visit)
    return found


def train(
    adapter: HuggingFaceAdapter, blocks: Sequence[Sequence[int]], how: Training
) -> tuple[dict[str, Tensor], dict[int, tuple[float, float]]]:
    """Learn the networks of all layers.

    Returns:
        The tensors of a file, and for each layer the recall on held-out text before and after.

    Raises:
        UserError: if there are fewer than two blocks, or the networks are too large.
    """
    if len(blocks) < 2:
        raise UserError(f"learning needs at least two blocks of text, got {len(blocks)}")
    _check_size(adapter.profile, how)
    held_out = max(1, len(blocks) // 8)
    generator = keyed_generator(torch.device("cpu"), METHOD, how.seed, "queries")
    tests = [examples(adapter, block, how.share, generator) for block in blocks[-held_out:]]
    profile = adapter.profile
    layers = {
        layer: LayerHashes(profile.shape(layer), layer, how) for layer in range(profile.layers)
    }

    def recalls() -> dict[int, float]:
        return {
            layer: sum(hashes.recall(test[layer]) for test in tests) / len(tests)
            for layer, hashes in layers.items()
        }

    before = recalls()
    for step in range(how.steps):
        block = blocks[step % (len(blocks) - held_out)]
        for layer, example in examples(adapter, block, how.share, generator).items():
            layers[layer].learn(example)
    after = recalls()
    tensors: dict[str, Tensor] = {}
    for layer, hashes in layers.items():
        tensors |= hashes.tensors(layer)
    return tensors, {layer: (before[layer], after[layer]) for layer in layers}


def _check_size(profile: ModelProfile, how: Training) -> None:
    numbers = 0
    for shape in map(profile.shape, range(profile.layers)):
        sizes = [shape.head_dim, *[how.hidden] * (how.depth - 1), how.bits]
        each = sum((a + 1) * b for a, b in pairwise(sizes))
        numbers += (shape.heads + shape.kv_heads) * each
    if numbers > _MOST_NUMBERS:
        raise UserError(
            f"the networks would have {numbers:,} numbers, and at most {_MOST_NUMBERS:,} are "
            "learned: lower --hidden, --depth or --bits"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code."""
    default = Training()
    options_parser = parser(METHOD, (__doc__ or "").splitlines()[0])
    add = options_parser.add_argument
    # More bits, width or layers than these would cost more than the keys that they save.
    add_number(options_parser, "--bits", default.bits, "of a code", 1, 1024)
    add_number(options_parser, "--hidden", default.hidden, "width", 1, 4096)
    add_number(options_parser, "--depth", default.depth, "layers", 1, 16)
    add("--activation", choices=sorted(ACTIVATIONS), default=default.activation)
    add(
        "--share",
        type=number_between(1e-6, 1 - 1e-6),
        default=default.share,
        metavar="X",
        help="heavy keys (default: %(default)s)",
    )
    # A million steps take days on the smallest model.
    add_number(options_parser, "--steps", default.steps, "of learning", 1, 10**6)
    add_number(options_parser, "--seed", default.seed, "of weights and queries", 0, 2**63 - 1)
    options = options_parser.parse_args(arguments)

    def work() -> int:
        how = Training(
            bits=options.bits,
            hidden=options.hidden,
            depth=options.depth,
            activation=options.activation,
            share=options.share,
            steps=options.steps,
            seed=options.seed,
        )
        adapter, blocks = load(options)
        tensors, recall = train(adapter, blocks, how)
        settings = {"activation": how.activation, "steps": how.steps, "text": options.text.name}
        write_file(options.output, METHOD, tensors, settings, adapter.profile)
        for layer, (before, after) in recall.items():
            print(f"layer {layer}: recall on held-out text {before:.3f} before, {after:.3f} after")
        print(f"wrote {options.output}: {len(recall)} layers from {len(blocks)} blocks of text")
        return 0

    return run_program(METHOD, work)


if __name__ == "__main__":
    sys.exit(main())
