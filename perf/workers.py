"""What a second worker brings, and what it costs to hand a request to one.

    python perf/workers.py

``two_worker_speedup``: time in which one worker answers some requests (the embedded model, a
context of ``--words`` words and a question, four configurations), over that in which two do; both
pools are there all the time and take turns.  ``ms_per_cell``: milliseconds by which 1000 requests
for one token take longer through a worker than in this process, each.  Needs two cores that nobody
else uses.
"""

from __future__ import annotations

from common import fix_environment, ratios, report, spread, wall_seconds

fix_environment()

import argparse
import statistics
from collections.abc import Sequence

import torch
from rich.console import Console
from rich.table import Table

from benchmark.embedded import MODEL_PATH
from benchmark.executor_config import AdapterConfig
from benchmark.run.devices import Devices
from benchmark.run.ray_session import hold_ray
from benchmark.run.requests import Pool, Request
from benchmark.run.worker import EvaluationWorker
from benchmark.run.workers import WorkerPool
from benchmark.suite.base import Sample
from sparse_attention import AttentionConfig, make_config
from sparse_attention.prompt import PromptSettings

CONFIGS = {name: make_config(name) for name in ("dense", "sink_local", "oracle_top_k", "quest")}


def requests(
    count: int, words: int, tokens: int, configs: dict[str, AttentionConfig]
) -> list[Request]:
    """Requests for one answer of so many tokens after contexts of so many words."""
    made = []
    for number in range(count):
        context = " ".join(f"The number for apple is {number}." for _ in range(words // 6 + 1))
        sample = Sample(str(number), context, "What is the number?", "", ("",), tokens, "perf")
        request = Request("perf", str(MODEL_PATH), None, (sample,), configs, PromptSettings(), "")
        made.append(request)
    return made


def answer(pool: Pool, wanted: Sequence[Request]) -> None:
    """Have all requests answered."""
    waiting = iter(wanted)
    for _, result in pool.run(lambda _: next(waiting, None)):
        assert result.model_failure is None
        assert all(p.answered for found in result.predictions.values() for p in found)


def devices(workers: int) -> Devices:
    """Workers of one thread."""
    return Devices.here("cpu", [""] * workers)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=16, help="of each round")
    parser.add_argument("--words", type=int, default=600)
    parser.add_argument("--tokens", type=int, default=24)
    parser.add_argument("--cells", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    settings = AdapterConfig(prefill_store_bytes=0)
    large = requests(options.requests, options.words, options.tokens, CONFIGS)
    small = requests(options.cells, 6, 1, {"dense": CONFIGS["dense"]})
    ones, twos = [], []
    with (
        hold_ray(),
        WorkerPool(devices(1), settings) as one,
        WorkerPool(devices(2), settings) as two,
    ):
        answer(one, large[:2])
        answer(two, large[:8])
        for _ in range(options.rounds):
            ones.append(wall_seconds(lambda: answer(one, large)))
            twos.append(wall_seconds(lambda: answer(two, large)))
        sent = wall_seconds(lambda: answer(one, small))
    here = EvaluationWorker(settings, "cpu", 1)
    here.evaluate(small[0])
    own = wall_seconds(lambda: [here.evaluate(request) for request in small])
    speedups = ratios(ones, twos)
    table = Table("what", "seconds")
    table.add_row("one worker", spread(ones))
    table.add_row("two workers", spread(twos))
    table.add_row("speed-up", spread(speedups))
    table.add_row(f"{options.cells} short requests to a worker", f"{sent:.2f}")
    table.add_row("the same in this process", f"{own:.2f}")
    Console().print(table)
    report(
        two_worker_speedup=statistics.median(speedups),
        ms_per_cell=1000 * max(0.0, sent - own) / options.cells,
    )


if __name__ == "__main__":
    main()
