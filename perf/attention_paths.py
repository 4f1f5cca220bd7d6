"""When collecting the keys that are read beats working on all of them.

    python perf/attention_paths.py

Times both ways of computing attention over a selection (``sparse_attention.attention``) for one
decode step on one thread, for growing shares of keys that a key-value head reads, alone and as one
of 32 rows, and prints the share at which they are equal beside the one at which the library's rule
switches (JSON keys ``measured@rows`` and ``rule@rows``).
"""

from __future__ import annotations

from common import fix_environment, report, wall_seconds

fix_environment()

import argparse
import statistics

import torch
from rich.console import Console
from rich.table import Table

from sparse_attention.attention.call import AttentionCall
from sparse_attention.attention.compact import Compact
from sparse_attention.attention.geometry import Geometry
from sparse_attention.attention.indices import Indices
from sparse_attention.attention.paths import (
    add_selection,
    gathered_attention,
    gathering_pays,
)
from sparse_attention.attention.scores import SharedScores, weigh_values
from sparse_attention.attention.selection import Selection
from sparse_attention.cache.context import Segment
from sparse_attention.cache.view import KeyView
from sparse_attention.model_facts import LayerSettings

SHARES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4)


class Step:
    """One decode step of ``rows`` rows over random keys."""

    def __init__(
        self,
        keys: int,
        heads: int,
        group: int,
        width: int,
        rows: int,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        segment = Segment(*torch.randn(2, heads, keys, width).to(dtype))
        tails = torch.randn(2, rows, heads, 1, width).to(dtype)
        self.view = KeyView(0, segment, *tails, heads)
        self.settings = LayerSettings(0.1)
        self.queries = torch.randn(rows, heads, group, 1, width).to(dtype)
        self.geometry = Geometry.of(0, keys + 1, 1, None, self.queries.device)
        self.keys, self.rows = keys, rows

    def scores(self) -> SharedScores:
        """Scores that are not computed yet."""
        return SharedScores(self.queries, self.view, self.geometry, self.settings)

    def call(self, shared: SharedScores) -> AttentionCall:
        """The operation of the first row."""
        return AttentionCall(shared, range(1), stack=[()], batch=[()], sample_keys=[""])

    def selection(self, share: float) -> Selection:
        """A random share of the keys, chosen for each key-value head, and the newest."""
        heads, count = self.queries.shape[1], max(1, round(share * self.keys))
        keys = torch.rand(1, heads, 1, 1, self.keys).topk(count, dim=-1).indices.sort(-1).values
        newest = ((self.keys, self.keys + 1),)
        return Selection(Compact(self.keys + 1, keys.device, newest, Indices(keys)))

    def masked(self, selection: Selection) -> None:
        """All rows, with the whole segment."""
        scores = self.scores().scores(range(self.rows))
        logits = torch.empty_like(scores.transpose(0, 1)).transpose(0, 1)
        for row in range(self.rows):
            add_selection(scores[row : row + 1], selection, out=logits[row : row + 1])
        weights = logits.transpose(0, 1).softmax(-1).transpose(0, 1)
        weigh_values(weights, self.view.segment.values, self.view.tail_values)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--keys", type=int, default=16384)
    parser.add_argument("--heads", type=int, default=8, help="key-value heads")
    parser.add_argument("--group", type=int, default=4, help="query heads per key-value head")
    parser.add_argument("--width", type=int, default=128, help="of a head")
    parser.add_argument("--rounds", type=int, default=9)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)

    measured: dict[str, float] = {}
    table = Table("rows", "share read", "gathered ms", "masked ms per row", "rule gathers")
    for rows in (1, 32):
        step = Step(options.keys, options.heads, options.group, options.width, rows)
        equal = rule = 0.0
        for share in SHARES:
            selection = step.selection(share)
            call = step.call(step.scores())
            gather, mask = [], []
            for _ in range(options.rounds):
                gather.append(wall_seconds(lambda: gathered_attention(call, selection, None)))  # noqa: B023
                mask.append(wall_seconds(lambda: step.masked(selection)) / rows)  # noqa: B023
            pays = gathering_pays(call, selection, rows, False)
            if statistics.median(gather) < statistics.median(mask):
                equal = share
            rule = share if pays else rule
            times = [f"{1000 * statistics.median(values):.2f}" for values in (gather, mask)]
            table.add_row(str(rows), f"{share:g}", *times, "yes" if pays else "no")
        measured |= {f"measured__{rows}": equal, f"rule__{rows}": rule}
    Console().print(table)
    report(**measured)


if __name__ == "__main__":
    main()
