"""What presses cost while the context is read, and what they leave of the cache.

    python perf/press_memory.py

A random 4-layer, 512-wide Llama in float32 reads a context of 32768 tokens, each time in a process
of its own.  ``observed_attention_peak_ratio``: peak memory of the prefill that collects the column
sums of the whole attention, over that of the plain prefill; both above what the process held with
the model loaded.  ``kept_bytes_share``: bytes of keys and values that SnapKV at ratio 0.75 holds,
over those of the context, counted from the tensors.
"""

from __future__ import annotations

from common import fix_environment, report

fix_environment()

import argparse
import json
import resource
import subprocess
import sys

import torch
from models import random_adapter, random_tokens
from rich.console import Console
from rich.table import Table

from sparse_attention import AttentionConfig, make_config
from sparse_attention.presses.compress import compress

CONFIGS: dict[str, list[AttentionConfig]] = {
    "plain": [],
    "observed attention": [make_config("observed_attention")],
    "all presses": [
        make_config(name)
        for name in ("observed_attention", "expected_attention", "snapkv", "criticalkv")
    ],
}


def peak_bytes() -> int:
    """Peak of the resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def prefill(name: str, length: int, chunk: int) -> dict[str, float]:
    """Read the context once, in this process."""
    torch.set_num_threads(1)
    adapter = random_adapter(length + 64, kv_heads=8)
    adapter.prefill_chunk = chunk
    adapter.prefill(random_tokens(64, seed=2), CONFIGS[name])
    before = peak_bytes()
    prefix = adapter.prefill(random_tokens(length, seed=1), CONFIGS[name])
    measured = {"peak": peak_bytes() - before, "cache": prefix.kv_nbytes}
    if name == "all presses":
        press = make_config("snapkv", compression_ratio=0.75)
        measured["kept"] = compress(prefix, press.presses).kv_nbytes
    return measured


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--context", type=int, default=32768)
    parser.add_argument("--chunk", type=int, default=8192, help="tokens processed at a time")
    parser.add_argument("--only", choices=CONFIGS, help="measure this here, and print it as JSON")
    options = parser.parse_args()
    if options.only:
        print(json.dumps(prefill(options.only, options.context, options.chunk)))
        return
    measured = {}
    table = Table("prefill", "peak MiB above the model", "cache MiB")
    for name in CONFIGS:
        command = [sys.executable, *sys.argv, "--only", name]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        measured[name] = json.loads(output.splitlines()[-1])
        table.add_row(name, *(f"{measured[name][key] / 2**20:.0f}" for key in ("peak", "cache")))
    Console().print(table)
    plain, everything = measured["plain"], measured["all presses"]
    report(
        observed_attention_peak_ratio=measured["observed attention"]["peak"] / plain["peak"],
        all_presses_peak_ratio=everything["peak"] / plain["peak"],
        kept_bytes_share=everything["kept"] / everything["cache"],
    )


if __name__ == "__main__":
    main()
