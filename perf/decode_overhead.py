"""What a decode step of each method costs, over a dense step of plain transformers.

    python perf/decode_overhead.py

CPU time of one step of the whole model (random 4-layer, 512-wide Llama, float32, one thread), warm
and for a method's first step where it prepares what it keeps about the context.  Methods read the
first 128 and the last 128 keys and 5% more; MagicPIG has 64 tables of 8 bits, pages have 16 keys,
labels 8 channels, and hash networks, here random, 3 layers of 128.  The other side is
``model(...)`` with transformers' DynamicCache and SDPA on the same context, measured in turn.
With ``--tokens`` a step reads so many tokens at once, as it does a question.
"""

from __future__ import annotations

from common import cpu_seconds, fix_environment, ratios, report, spread

from sparse_attention.hf.attention import configs_of, forward, our_attention
from sparse_attention.hf.cache import DecoderCache
from sparse_attention.learned import channels, hash_networks

fix_environment()

import argparse
import gc
import tempfile
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import torch
from models import random_adapter, random_tokens
from rich.console import Console
from rich.table import Table
from transformers import DynamicCache

from sparse_attention import AttentionConfig, HuggingFaceAdapter, Protocol
from sparse_attention.cache.context import Context
from sparse_attention.decode.decoder import Decoder
from sparse_attention.learned.files import write_file
from sparse_attention.maskers import (
    AdaptiveSampling,
    DoubleSparsity,
    HashAttention,
    Local,
    MagicPig,
    OracleTopK,
    OracleTopP,
    PQCache,
    Quest,
    RandomSampling,
    Sink,
)
from sparse_attention.model_facts import ModelProfile

EDGES = (Sink(sink_size=128), Local(window_size=128))
CONFIGS = {
    "dense": AttentionConfig(),
    "sink_local": AttentionConfig(EDGES),
    "oracle_top_k": AttentionConfig((*EDGES, OracleTopK(heavy_size=0.05))),
    "random_sampling": AttentionConfig((*EDGES, RandomSampling(sampling_rate=0.05))),
    "adaptive_sampling": AttentionConfig(
        (*EDGES, OracleTopK(heavy_size=0.025), AdaptiveSampling(base_rate=0.025, epsilon=0.2))
    ),
    "magic_pig": AttentionConfig((*EDGES, MagicPig(lsh_l=64, lsh_k=8))),
    "oracle_top_k_together": AttentionConfig(
        (*EDGES, OracleTopK(heavy_size=0.05, group_scores="mean"))
    ),
    "oracle_top_p": AttentionConfig((*EDGES, OracleTopP(top_p=0.5))),
    "quest": AttentionConfig((*EDGES, Quest(heavy_size=0.05))),
    "double_sparsity": AttentionConfig((*EDGES, DoubleSparsity(heavy_size=0.05))),
    "pq_cache": AttentionConfig((*EDGES, PQCache(heavy_size=0.05))),
    "hash_attention": AttentionConfig((*EDGES, HashAttention(heavy_size=0.05))),
}
PREPARING = ("magic_pig", "quest", "double_sparsity", "pq_cache", "hash_attention")
"""Methods whose first step is shown, too."""


def write_random_files(profile: ModelProfile, folder: Path) -> ModelProfile:
    """The model with random calibration files beside it, which cost what learned ones cost."""
    generator = torch.Generator().manual_seed(0)
    widths = (profile.head_dim, 128, 128, 32)
    order = torch.rand(profile.heads, profile.head_dim, generator=generator).argsort(-1).short()
    orders, hashes = {}, {}
    for layer in range(profile.layers):
        orders[f"layers.{layer}.qk_proj"] = order.clone()
        for side, count in (("query", profile.heads), ("key", profile.kv_heads)):
            network = tuple(
                (torch.randn(count, a, b, generator=generator) / a**0.5, torch.zeros(count, b))
                for a, b in pairwise(widths)
            )
            hashes |= hash_networks.network_tensors(layer, side, network)
    write_file(folder / channels.DEFAULT_NAME, channels.METHOD, orders, {}, profile)
    about = {"activation": "silu"}
    write_file(folder / hash_networks.DEFAULT_NAME, hash_networks.METHOD, hashes, about, profile)
    return replace(profile, folder=folder)


class Plain:
    """Decode steps of plain transformers."""

    def __init__(self, adapter: HuggingFaceAdapter, context: list[int], tokens: int) -> None:
        self.model, self.new = adapter.model, torch.arange(tokens)[None]
        self.positions = self.new + len(context)
        self.cache = DynamicCache(config=adapter.model.config)
        with torch.inference_mode():
            self.model.model(torch.tensor([context]), past_key_values=self.cache, use_cache=True)

    @torch.inference_mode()
    def step(self) -> None:
        """Process the next tokens."""
        self.model(
            self.new,
            position_ids=self.positions,
            past_key_values=self.cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.new = (self.new + 1) % 4096
        self.positions = self.positions + self.new.shape[1]


class Ours:
    """Decode steps of one configuration over a context."""

    def __init__(
        self, adapter: HuggingFaceAdapter, context: Context, config: AttentionConfig, tokens: int
    ) -> None:
        self.model, self.new = adapter.model, torch.arange(tokens)[None]
        self.configs = configs_of(adapter.model)  # once for an answer, as the adapter does it
        own = config.for_model(adapter.profile)
        self.decoder = Decoder(context, [own], ["perf"], Protocol())
        self.cache = DecoderCache(self.model, self.decoder)

    def step(self) -> None:
        """Process the next tokens."""
        with our_attention(self.configs):
            forward(self.model, self.new, self.cache)
        self.decoder.end_step()
        self.new = (self.new + 1) % 4096


def measure(
    adapter: HuggingFaceAdapter,
    length: int,
    options: argparse.Namespace,
    table: Table,
    measured: dict[str, float],
) -> None:
    """Measure every configuration at one length; adds to ``table`` and ``measured``."""
    context = random_tokens(length, seed=1)
    prefix = adapter.prefill(context)
    plain = Plain(adapter, context, options.tokens)
    plain.step()
    for name in options.methods:
        first, warm, base = [], [], []
        for _ in range(options.rounds):
            for layer in prefix.layers:
                layer.segments[0].features.clear()
            ours = Ours(adapter, prefix, CONFIGS[name], options.tokens)
            first.append(cpu_seconds(ours.step))
            ours.step()
            warm.append(cpu_seconds(ours.step, options.steps))
            base.append(cpu_seconds(plain.step, options.steps))
            gc.collect()
        over = ratios(warm, base)
        measured[f"{name}@{length}"] = sorted(over)[len(over) // 2]
        milliseconds = [1000 * seconds / options.steps for seconds in warm]
        density = f"{ours.decoder.rows[0].probe.density:.3f}"
        table.add_row(name, str(length), spread(milliseconds), spread(over), density)
        if name in PREPARING:
            over = ratios(first, [seconds / options.steps for seconds in base])
            measured[f"{name}_first@{length}"] = sorted(over)[len(over) // 2]
            milliseconds = [1000 * seconds for seconds in first]
            table.add_row(f"{name} (first)", str(length), spread(milliseconds), spread(over), "")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[4096, 16384])
    parser.add_argument("--kv-heads", type=int, default=8, help="key-value heads of the 8 heads")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=6, help="steps in a round")
    parser.add_argument("--tokens", type=int, default=1, help="tokens that a step reads")
    parser.add_argument("--methods", nargs="+", choices=CONFIGS, default=list(CONFIGS))
    options = parser.parse_args()
    torch.set_num_threads(1)

    measured: dict[str, float] = {}
    table = Table("method", "keys", "ms a step", "over transformers' dense step", "density")
    with tempfile.TemporaryDirectory() as folder:
        for length in options.lengths:
            adapter = random_adapter(length + 4096, options.kv_heads)
            adapter.profile = write_random_files(adapter.profile, Path(folder) / str(length))
            measure(adapter, length, options, table, measured)
    Console().print(table)
    report(**measured)


if __name__ == "__main__":
    main()
