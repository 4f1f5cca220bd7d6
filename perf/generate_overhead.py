"""What a decode step costs inside ``model.generate``, over plain ``generate`` and over the adapter.

    python perf/generate_overhead.py

CPU time of one step (random 4-layer, 512-wide Llama, float32, one thread), from the choice of one
token to that of the next, warm: the first steps, in which methods prepare what they keep about the
context, do not count.  Methods read the first 128 and the last 128 keys and, where they choose
keys, 5% more.  One side is ``generate`` inside ``sparse_generation``; the others are ``generate``
as it is, with transformers' DynamicCache and SDPA, measured in turn on the same context, and the
steps of ``HuggingFaceAdapter.answer``, of which one comes after each step of ``generate``: what
else the machine does slows both alike.
"""

from __future__ import annotations

from common import cpu_seconds, fix_environment, ratios, report, spread

from sparse_attention.hf.attention import configs_of, forward, our_attention
from sparse_attention.hf.cache import DecoderCache

fix_environment()

import argparse
import copy
import gc
import statistics
import time
from collections.abc import Callable

import torch
from models import random_adapter, random_tokens
from rich.console import Console
from rich.table import Table
from transformers import LlamaForCausalLM, LogitsProcessor, LogitsProcessorList

from sparse_attention import AttentionConfig, Protocol, sparse_generation
from sparse_attention.cache.context import Context
from sparse_attention.decode.decoder import Decoder
from sparse_attention.maskers import Local, MagicPig, OracleTopK, Sink

EDGES = (Sink(sink_size=128), Local(window_size=128))
CONFIGS = {
    "dense": AttentionConfig(),
    "sink_local": AttentionConfig(EDGES),
    "oracle_top_k": AttentionConfig((*EDGES, OracleTopK(heavy_size=0.05))),
    "magic_pig": AttentionConfig((*EDGES, MagicPig(lsh_l=64, lsh_k=8))),
}
WARM = 3
"""Steps that come before those that count."""


class Clock(LogitsProcessor):
    """Notes how long each token takes, and does something else after each.

    A class, as those of transformers are: to see what a plain function takes costs ``generate``
    half a millisecond a step.
    """

    def __init__(self, beside: Callable[[], None]) -> None:
        self.seconds: list[float] = []
        self.beside: list[float] = []
        self._beside, self._before = beside, 0.0

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """Change nothing."""
        self.seconds.append(time.process_time() - self._before)
        self.beside.append(cpu_seconds(self._beside))
        self._before = time.process_time()
        return scores


def measure(
    model: LlamaForCausalLM,
    prompt: list[int],
    steps: int,
    beside: Callable[[], None] = lambda: None,
) -> tuple[float, float]:
    """Seconds of the median step of ``model.generate``, and of what is done after each."""
    clock = Clock(beside)
    model.generate(
        torch.tensor([prompt]),
        max_new_tokens=1 + WARM + steps,
        do_sample=False,
        logits_processor=LogitsProcessorList([clock]),
    )
    first = 1 + WARM
    return statistics.median(clock.seconds[first:]), statistics.median(clock.beside[first:])


def adapter_step(
    model: LlamaForCausalLM, context: Context, token: int, config: AttentionConfig
) -> Callable[[], None]:
    """What the adapter does for one token after another."""
    decoder = Decoder(context, [config], [""], Protocol())
    cache = DecoderCache(model, decoder)
    following, configs = torch.tensor([[token]]), configs_of(model)

    def step() -> None:
        nonlocal following
        with our_attention(configs):
            following = forward(model, following, cache).argmax(-1, keepdim=True)
        decoder.end_step()

    return step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=16384, help="tokens of the context")
    parser.add_argument("--kv-heads", type=int, default=8, help="key-value heads of the 8 heads")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=32, help="steps that count in a round")
    options = parser.parse_args()
    torch.set_num_threads(1)

    adapter = random_adapter(options.length + 64, options.kv_heads)
    model, prompt = adapter.model, random_tokens(options.length, seed=1)
    twin = copy.copy(model)  # of the same parts, but its forward is not replaced inside generate
    plain: list[float] = []
    ours: dict[str, list[float]] = {name: [] for name in CONFIGS}
    alone: dict[str, list[float]] = {name: [] for name in CONFIGS}
    for _ in range(options.rounds):
        plain.append(measure(model, prompt, options.steps)[0])
        prefix = adapter.prefill(prompt[:-1])  # anew, as in ``generate``, with all that is kept
        for name, config in CONFIGS.items():
            step = adapter_step(twin, prefix, prompt[-1], config)
            with sparse_generation(model, config):
                inside, beside = measure(model, prompt, options.steps, step)
            ours[name].append(inside)
            alone[name].append(beside)
            gc.collect()

    measured: dict[str, float] = {}
    table = Table("method", "ms a step", "over plain generate", "over the adapter")
    table.add_row("plain generate", spread([1000 * seconds for seconds in plain]), "", "")
    for name in CONFIGS:
        over_plain, over_adapter = ratios(ours[name], plain), ratios(ours[name], alone[name])
        measured[f"{name}__{options.length}"] = statistics.median(over_plain)
        measured[f"{name}_over_adapter__{options.length}"] = statistics.median(over_adapter)
        milliseconds = spread([1000 * seconds for seconds in ours[name]])
        table.add_row(name, milliseconds, spread(over_plain), spread(over_adapter))
    Console().print(table)
    report(**measured)


if __name__ == "__main__":
    main()
