"""What it costs to answer with 32 configurations, over one, and over 32 runs of transformers.

    python perf/many_configs.py
    python perf/many_configs.py --model llama-8b-shape --no-error

Wall time on one thread, float32: a random 4-layer, 512-wide Llama reads a context of 4096 tokens
and a question of 20 and generates 16 tokens; or, on a GPU, a random one of the shape of Llama 3.1
8B in bfloat16 a context of 32768 tokens.  ``ratio_to_one``: prefill and answers with 32
configurations (a mix of all methods and settings), over the same with one of them (each in turn).
``speedup_over_separate``: 32 separate runs of plain transformers (prefill and greedy decoding with
SDPA), over the former; one such run is timed at a time and multiplied by 32.
"""

from __future__ import annotations

from common import fix_environment, ratios, report, spread, wall_seconds

fix_environment()

import argparse
import statistics

import torch
from models import as_adapter, llama_8b_shape, random_adapter, random_tokens
from rich.console import Console
from rich.table import Table
from transformers import DynamicCache

from sparse_attention import AttentionConfig, HuggingFaceAdapter, make_config

CONFIGS = [  # four or five of every method, and plain dense attention
    make_config("dense"),
    *(make_config("sink_masker", sink_size=size) for size in (64, 128, 256)),
    *(make_config("local_masker", window_size=size) for size in (64, 128, 256, 512)),
    *(make_config("sink_local", window_size=size) for size in (32, 64, 128, 256)),
    *(make_config("oracle_top_k", heavy_size=size) for size in (0.01, 0.02, 0.05, 0.1, 64)),
    *(make_config("random_sampling", sampling_rate=rate) for rate in (0.01, 0.02, 0.05, 0.1, 0.2)),
    *(
        make_config("magic_pig", lsh_k=bits, lsh_l=tables)
        for bits, tables in ((7, 50), (8, 64), (8, 75), (9, 120), (10, 150))
    ),
    *(
        make_config("adaptive_sampling", epsilon=error, delta=error)
        for error in (0.05, 0.1, 0.2, 0.3, 0.4)
    ),
]


def ours(
    adapter: HuggingFaceAdapter,
    context: list[int],
    question: list[int],
    configs: list[AttentionConfig],
    tokens: int,
    measure_error: bool,
) -> None:
    """Read the context and answer with all configurations."""
    prefix = adapter.prefill(context)
    adapter.answer(prefix, question, configs, max_new_tokens=tokens, measure_error=measure_error)


@torch.inference_mode()
def plain(adapter: HuggingFaceAdapter, prompt: list[int], tokens: int) -> None:
    """Read the prompt and decode greedily with transformers alone."""
    cache = DynamicCache(config=adapter.model.config)
    following = torch.tensor([prompt], device=adapter.model.device)
    for _ in range(tokens):
        output = adapter.model(following, past_key_values=cache, use_cache=True, logits_to_keep=1)
        following = output.logits[:, -1].argmax(-1, keepdim=True)
    following.tolist()  # where a GPU works, this waits for it


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=["small", "llama-8b-shape"], default="small")
    parser.add_argument("--context", type=int, help="tokens; 4096, or 32768 of the large model")
    parser.add_argument("--question", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--kv-heads", type=int, default=8, help="key-value heads of the 8 heads")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--no-error", action="store_true", help="do not compare each output with dense attention"
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    assert len(set(CONFIGS)) == 32

    large = options.model == "llama-8b-shape"
    length = options.context or (32768 if large else 4096)
    if large:
        adapter = as_adapter(llama_8b_shape(2 * length, torch.device("cuda")))
        print(torch.cuda.get_device_name())
    else:
        adapter = random_adapter(2 * length, options.kv_heads)
    context = random_tokens(length, seed=1)
    question = random_tokens(options.question, seed=2)
    setting = (options.tokens, not options.no_error)
    ours(adapter, context, question, CONFIGS, 2, not options.no_error)

    many, one, separate = [], [], []
    singles = [CONFIGS[(7 * index) % 32] for index in range(options.rounds)]
    for single in singles:
        many.append(wall_seconds(lambda: ours(adapter, context, question, CONFIGS, *setting)))
        one.append(
            wall_seconds(lambda: ours(adapter, context, question, [single], *setting))  # noqa: B023
        )
        separate.append(
            32 * wall_seconds(lambda: plain(adapter, context + question, options.tokens))
        )
    table = Table("what", "seconds")
    table.add_row("32 configurations, one prefill", spread(many))
    table.add_row("one configuration", spread(one))
    table.add_row("32 separate runs of transformers", spread(separate))
    table.add_row("ratio to one", spread(ratios(many, one)))
    table.add_row("speed-up over separate runs", spread(ratios(separate, many)))
    Console().print(table)
    report(
        ratio_to_one=statistics.median(ratios(many, one)),
        speedup_over_separate=statistics.median(ratios(separate, many)),
    )


if __name__ == "__main__":
    main()
