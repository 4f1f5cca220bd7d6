"""What a long context costs: memory at its peak, and time of the prefill.

    python perf/long_context.py

A random 4-layer, 512-wide Llama in float32 on one thread reads a context of 65536 tokens and a
question, and answers it with eight configurations in one batch.  ``peak_ratio``: peak memory above
what the process held before the model, over weights, one cache and the activations of one chunk.
``prefill_time_ratio``: time of the prefill over that of transformers alone, which reads the same
tokens with SDPA in chunks of the same size; in a process of its own.  Unlike the other programs it
leaves the allocator as users have it, which decides how much of what was freed stays.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time

import torch
from common import report
from models import random_adapter, random_llama, random_tokens
from rich.console import Console
from rich.table import Table
from transformers import DynamicCache

from benchmark.run.memory import Footprint
from sparse_attention import make_config

CONFIGS = [
    make_config("dense"),
    make_config("sink_local"),
    make_config("oracle_top_k", heavy_size=0.02),
    make_config("oracle_top_k", heavy_size=0.05),
    make_config("quest"),
    make_config("random_sampling", sampling_rate=0.05),
    make_config("local_masker", window_size=512),
    make_config("sink_masker", sink_size=128),
]


def peak_bytes() -> int:
    """Peak of the resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def ours(options: argparse.Namespace) -> dict[str, float]:
    """Read and answer with this library."""
    before = peak_bytes()
    adapter = random_adapter(2 * options.context, kv_heads=8)
    footprint = Footprint.of(adapter)
    context = random_tokens(options.context, seed=1)
    start = time.perf_counter()
    prefix = adapter.prefill(context, CONFIGS)
    seconds = time.perf_counter() - start
    read = peak_bytes() - before
    question = random_tokens(options.question, seed=2)
    adapter.answer(prefix, question, CONFIGS, max_new_tokens=options.tokens)
    least = footprint.weights + prefix.kv_nbytes + adapter.prefill_chunk * footprint.activations
    return {"peak": peak_bytes() - before, "read": read, "least": least, "seconds": seconds}


@torch.inference_mode()
def plain(options: argparse.Namespace) -> dict[str, float]:
    """Read with transformers alone."""
    before = peak_bytes()
    model = random_llama(2 * options.context, kv_heads=8)
    cache = DynamicCache(config=model.config)
    ids = torch.tensor([random_tokens(options.context, seed=1)])
    start = time.perf_counter()
    for part in ids.split(options.chunk, 1):
        model.model(part, past_key_values=cache, use_cache=True)
    return {"peak": peak_bytes() - before, "seconds": time.perf_counter() - start}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--context", type=int, default=65536)
    parser.add_argument("--question", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=4)
    parser.add_argument("--chunk", type=int, default=8192, help="tokens read at a time")
    parser.add_argument("--only", choices=("ours", "plain"), help="measure it here, print JSON")
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.only:
        print(json.dumps({"ours": ours, "plain": plain}[options.only](options)))
        return
    measured = {}
    for name in ("ours", "plain"):
        command = [sys.executable, *sys.argv, "--only", name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        measured[name] = json.loads(output.splitlines()[-1])
    table = Table("what", "ours", "transformers")
    own, other = measured["ours"], measured["plain"]
    table.add_row("prefill, seconds", *(f"{each['seconds']:.1f}" for each in (own, other)))
    table.add_row("peak, MiB", *(f"{each['peak'] / 2**20:.0f}" for each in (own, other)))
    table.add_row("of the prefill alone", f"{own['read'] / 2**20:.0f}", "")
    table.add_row("weights, cache, a chunk", f"{own['least'] / 2**20:.0f}", "")
    Console().print(table)
    report(
        peak_ratio=own["peak"] / own["least"],
        prefill_time_ratio=own["seconds"] / other["seconds"],
    )


if __name__ == "__main__":
    main()
