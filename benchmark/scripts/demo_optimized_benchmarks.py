"""Global and per-task optimisation on the embedded model, then the matrix with what was found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.console.main import execute
from sparse_attention.program import Parser

PROGRAM = "demo_optimized_benchmarks.py"
TASKS = ("niah_multikey_2", "niah_multiquery", "vt")
SEARCHED = ("quest", "pq_cache", "magic_pig", "lagkv")
"""Methods that can be deployed; the last one is a press."""
BEFOREHAND = """\
This asks which method, with which settings, reads least and keeps the score of dense attention: on
three RULER tasks, with the model that ships with the project.  It takes about five minutes on two
cores.  Nothing is downloaded: model and texts are here.  It may be interrupted and goes on when it
is started again.
"""


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(
        prog=PROGRAM,
        description="Search the sparsest settings that keep the score, once for all tasks and once "
        "for each task, on RULER with the model that ships with the project; compare them with "
        "dense attention and with default settings; then see whether they hold at twice the "
        "length.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--samples", type=int, default=10, metavar="N", help="trials of each search")
    add("--max-requests", type=int, default=16, metavar="N", help="samples of each task")
    add("--length", type=int, default=1024, metavar="TOKENS", help="of a sample")
    add("--results-dir", default="./results", metavar="DIR", help="tables, pictures, answers")
    add("--cache-dir", default="./results/hyperparameter_cache", metavar="DIR", help="settings")
    add("--quiet", action="store_true", help="no progress, warnings only")
    return parser


def run(options: argparse.Namespace) -> int:
    """Both searches and the matrices; the exit code."""
    from benchmark.console.commands import show_result
    from benchmark.embedded import MODEL_NAME
    from benchmark.executor_config import BenchmarkConfig
    from benchmark.hyperparameter_optimization import OptimizationConfig
    from benchmark.optimizer.optimized_executor import create_optimized_benchmark_executor
    from benchmark.report.decision import decision_table
    from benchmark.report.search_picture import write_search_picture
    from benchmark.report.search_table import print_results
    from benchmark.report.text_table import print_table, table_console
    from benchmark.run.ray_session import hold_ray
    from benchmark.run.result import MatrixResult
    from benchmark.tuning.cache import BestConfigCache
    from sparse_attention.config import AttentionConfig
    from sparse_attention.config_types import make_config

    if not options.quiet:
        print(BEFOREHAND, file=sys.stderr, flush=True)

    def matrix(
        length: int, configs: Sequence[tuple[str, AttentionConfig | None]], *, per_task: bool
    ) -> MatrixResult:
        settings = OptimizationConfig(
            num_samples=options.samples,
            optimization_metric="density_at_score",
            use_per_task_config=per_task,
            scheduler="none",  # every trial sees all samples, so that all are points of a curve
            cache_dir=options.cache_dir,
        )
        executor = create_optimized_benchmark_executor(
            [], settings, results_dir=options.results_dir, quiet=options.quiet
        )
        count = options.max_requests
        sizes = {"lexicon": "embedded", "length": length, "samples": count}
        benchmark = BenchmarkConfig("ruler", TASKS, sizes)
        return executor.run_benchmark_matrix(
            [MODEL_NAME], configs, [benchmark], request_kwargs={"max_requests": count}
        )

    searched: list[tuple[str, AttentionConfig | None]] = [(name, None) for name in SEARCHED]
    fixed = [
        ("dense", None),
        ("sink_local", make_config("sink_local")),
        *((f"{name}, default", make_config(name)) for name in SEARCHED),
    ]
    with hold_ray():
        for_all = matrix(options.length, [*fixed, *searched], per_task=False)
        for_each = matrix(options.length, searched, per_task=True)
        found = {cell.config: cell.attention for cell in for_all.cells if cell.config in SEARCHED}
        there = [(f"{name}, tuned at {options.length}", one) for name, one in found.items() if one]
        longer = matrix(2 * options.length, [("dense", None), *there], per_task=False)
    cells = (*for_all.cells, *for_each.cells, *longer.cells)
    code = show_result(MatrixResult(for_all.results_dir, cells))
    results = BestConfigCache(options.cache_dir).read_all()
    picture = Path(options.results_dir) / "searches.png"
    write_search_picture(results, picture)
    console = table_console()
    print_results(results, console)
    at_length = MatrixResult(for_all.results_dir, (*for_all.cells, *for_each.cells))
    print_table(decision_table(at_length), console)
    console.print(f"picture of the searches: {picture}", markup=False, soft_wrap=True)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code."""
    options = build_parser().parse_args(arguments)
    return execute(lambda: run(options), PROGRAM, "warning" if options.quiet else "info")


if __name__ == "__main__":
    sys.exit(main())
