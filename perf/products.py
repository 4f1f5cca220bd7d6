"""What the products of attention take by torch and by NumPy, on one thread of this processor.

    python perf/products.py

Float32, 8 key-value heads.  ``dots``: queries with keys, written where the products with 21 keys
of a tail follow; ``weigh``: weights with values; ``hash``: random vectors of MagicPIG with a block
of keys.  The ratios are of what ``sparse_attention.numerics.products`` does over ``torch.bmm``, by
product and lines (query heads of a key-value head, rows and queries).
"""

from __future__ import annotations

from common import fix_environment, ratios, report, spread, wall_seconds

fix_environment()

import argparse
import statistics

import torch
from rich.console import Console
from rich.table import Table

from sparse_attention.numerics.products import numpy_is_faster, product

HEADS, WIDTH, TAIL = 8, 64, 21
LINES = (1, 4, 8, 32, 128, 640)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=15)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    keys = torch.randn(HEADS, options.keys, WIDTH)
    factors = {}
    for lines in LINES:
        factors[f"dots_{lines}"] = torch.randn(HEADS, lines, WIDTH), keys.mT
        factors[f"weigh_{lines}"] = torch.rand(HEADS, lines, options.keys), keys
    factors["hash"] = torch.randn(1, 1500, WIDTH), torch.randn(1, 64 * HEADS, WIDTH).mT
    table = Table("product", "chosen", "torch, ms", "chosen, ms", "chosen over torch")
    measured = {}
    for name, (left, right) in factors.items():
        columns, more = right.shape[2], TAIL if name.startswith("dots") else 0
        room = torch.empty(*left.shape[:2], columns + more)[..., :columns]
        by_torch, chosen = [], []
        for _ in range(options.rounds):
            by_torch.append(wall_seconds(lambda: torch.bmm(left, right, out=room)))  # noqa: B023
            chosen.append(wall_seconds(lambda: product(left, right, out=room)))  # noqa: B023
        one = "NumPy" if numpy_is_faster(left.shape[1], *right.shape[1:]) else "torch"
        times = [spread([1000 * value for value in values]) for values in (by_torch, chosen)]
        over = ratios(chosen, by_torch)
        table.add_row(name, one, *times, spread(over))
        measured[name] = statistics.median(over)
    Console().print(table)
    report(**measured)


if __name__ == "__main__":
    main()
