"""What attention over a selection saves over dense attention on a CPU, choosing left out.

    python perf/attention_cpu.py

One decode step of one layer on one thread: 8 key-value heads of 128 with four query heads each over
32768 random keys, of which each key-value head reads 5%.  The other side is the best of
``scaled_dot_product_attention``, two batched matrix products, and the same in float32 copies made
beforehand, measured in turn with other keys chosen each time.  ``speedup_fp32``, ``speedup_bf16``.
"""

from __future__ import annotations

from common import fix_environment, ratios, report, spread, wall_seconds

fix_environment()

import argparse
import statistics
from collections.abc import Callable

import torch
from attention_paths import Step
from rich.console import Console
from rich.table import Table
from torch import Tensor

from sparse_attention.attention.paths import gathered_attention


def dense_forms(queries: Tensor, keys: Tensor, values: Tensor) -> dict[str, Callable[[], object]]:
    """Ways to compute dense attention of queries (H, G, D) over keys and values (H, P, D)."""
    heads, group, width = queries.shape
    flat = queries.reshape(1, heads * group, 1, width)
    wide = [tensor.float() for tensor in (queries, keys, values)]

    def products(asked: Tensor, known: Tensor, weighed: Tensor) -> Tensor:
        return torch.bmm(torch.bmm(asked, known.mT).softmax(-1), weighed)

    return {
        "sdpa": lambda: torch.nn.functional.scaled_dot_product_attention(
            flat, keys[None], values[None], enable_gqa=True
        ),
        "products": lambda: products(queries, keys, values),
        "products in float32": lambda: products(*wide),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=32768)
    parser.add_argument("--heads", type=int, default=8, help="key-value heads")
    parser.add_argument("--group", type=int, default=4, help="query heads per key-value head")
    parser.add_argument("--width", type=int, default=128, help="of a head")
    parser.add_argument("--share", type=float, default=0.05)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    measured: dict[str, float] = {}
    table = Table("what", "ms", "over gathered")
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        step = Step(options.keys, options.heads, options.group, options.width, 1, dtype)
        segment = step.view.segment
        forms = dense_forms(step.queries[0, :, :, 0], segment.keys, segment.values)
        gathered: list[float] = []
        dense: dict[str, list[float]] = {form: [] for form in forms}
        for round_ in range(options.rounds + 1):
            selection, call = step.selection(options.share), step.call(step.scores())
            seconds = wall_seconds(lambda: gathered_attention(call, selection, None))  # noqa: B023
            times = {form: wall_seconds(compute) for form, compute in forms.items()}
            if round_:  # the first warms up
                gathered.append(seconds)
                for form, value in times.items():
                    dense[form].append(value)
        table.add_row(f"{name}, gathered", spread([1000 * value for value in gathered]), "")
        for form, values in dense.items():
            over = spread(ratios(values, gathered))
            table.add_row(f"{name}, {form}", spread([1000 * value for value in values]), over)
        best = min(dense.values(), key=statistics.median)
        measured[f"speedup_{name}"] = statistics.median(ratios(best, gathered))
    Console().print(table)
    report(**measured)


if __name__ == "__main__":
    main()
