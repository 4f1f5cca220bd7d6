"""What it costs to tune 32 configurations, over evaluating one, and over evaluating each by itself.

    python perf/tuning.py

Wall time with Ray running: the embedded model, 8 samples of RULER with 2048 tokens, one worker on
one thread.  ``ratio_to_one``: a search of 32 settings of MagicPIG on the 8 samples (all of what
``optimize`` does: worker, trials, journal, cache), over a matrix run of one of them on the same
samples.  ``speedup_over_separate``: 32 such runs one after the other, each with its prefills, over
the search; three of them are timed in a round.  Both sides start a worker process, which takes some
seconds; ``..._started`` are the same ratios with the time of that start taken off all sides.
"""

from __future__ import annotations

from common import fix_environment, ratios, report, spread, wall_seconds

fix_environment()

import argparse
import statistics
import tempfile

from rich.console import Console
from rich.table import Table

from benchmark.embedded import MODEL_NAME
from benchmark.executor import BenchmarkExecutor
from benchmark.executor_config import BenchmarkConfig
from benchmark.hyperparameter_optimization import OptimizationConfig, optimize
from benchmark.run.ray_session import hold_ray, start_ray
from sparse_attention import make_config

SETTINGS = [(10, 150), (8, 64), (6, 32)]
"""Bits and tables of the configurations that are evaluated by themselves."""


def benchmark(length: int, samples: int) -> BenchmarkConfig:
    """Samples of one task."""
    options = {"lexicon": "embedded", "length": length, "samples": samples}
    return BenchmarkConfig("ruler", ["niah_multikey_2"], options)


def evaluate(config: BenchmarkConfig, bits: int, tables: int) -> None:
    """A matrix run of one configuration."""
    with tempfile.TemporaryDirectory() as folder:
        result = BenchmarkExecutor([], folder, 1, quiet=True).run_benchmark_matrix(
            [MODEL_NAME],
            [("magic_pig", make_config("magic_pig", lsh_k=bits, lsh_l=tables))],
            [config],
        )
        assert result.exit_code == 0


def tune(config: BenchmarkConfig, trials: int) -> None:
    """A search that sees all samples."""
    with tempfile.TemporaryDirectory() as folder:
        settings = OptimizationConfig(
            num_samples=trials,
            max_concurrent_trials=trials,
            use_per_task_config=True,
            held_out=0,
            cache_dir=folder,
        )
        found = optimize(
            MODEL_NAME, [config], ["magic_pig"], settings, gpu_ids=[], num_workers=1, quiet=True
        )
        (result,) = found["magic_pig"].results.values()
        assert len(result.document["trials"]) == trials


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--length", type=int, default=2048)
    parser.add_argument("--samples", type=int, default=8)
    parser.add_argument("--trials", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    config = benchmark(options.length, options.samples)
    tuned, one, separate, starts = [], [], [], []
    with hold_ray():
        start_ray()
        evaluate(config, *SETTINGS[0])  # generates the samples
        for _ in range(options.rounds):
            tuned.append(wall_seconds(lambda: tune(config, options.trials)))
            times = [
                wall_seconds(lambda: evaluate(config, *setting))  # noqa: B023
                for setting in SETTINGS
            ]
            one.append(times[0])
            separate.append(options.trials * statistics.mean(times))
            starts.append(wall_seconds(lambda: evaluate(benchmark(128, 1), *SETTINGS[0])))
    own = [
        [total - count * start for total, start in zip(totals, starts, strict=True)]
        for totals, count in ((tuned, 1), (one, 1), (separate, options.trials))
    ]
    table = Table("what", "seconds")
    table.add_row(f"search of {options.trials} settings", spread(tuned))
    table.add_row("one configuration", spread(one))
    table.add_row(f"{options.trials} runs of one configuration", spread(separate))
    table.add_row("start of a worker", spread(starts))
    table.add_row("ratio to one", spread(ratios(tuned, one)))
    table.add_row("speed-up over separate runs", spread(ratios(separate, tuned)))
    table.add_row("ratio to one, workers started", spread(ratios(own[0], own[1])))
    table.add_row("speed-up, workers started", spread(ratios(own[2], own[0])))
    Console().print(table)
    report(
        ratio_to_one=statistics.median(ratios(tuned, one)),
        speedup_over_separate=statistics.median(ratios(separate, tuned)),
        ratio_to_one_started=statistics.median(ratios(own[0], own[1])),
        speedup_over_separate_started=statistics.median(ratios(own[2], own[0])),
    )


if __name__ == "__main__":
    main()
