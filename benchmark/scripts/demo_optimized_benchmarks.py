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
SEARCHED = ("oracle_top_k", "magic_pig", "adaptive_sampling")


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(
        prog=PROGRAM,
        description="Search the sparsest settings that keep the score, once for all tasks and once "
        "for each task, on RULER with the model that ships with the project; then compare them "
        "with dense attention and with default settings.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--samples", type=int, default=16, metavar="N", help="trials of each search")
    add("--max-requests", type=int, default=24, metavar="N", help="samples of each task")
    add("--length", type=int, default=1024, metavar="TOKENS", help="of a sample")
    add("--results-dir", default="./results", metavar="DIR", help="tables, pictures, answers")
    add("--cache-dir", default="./results/hyperparameter_cache", metavar="DIR", help="settings")
    add("--quiet", action="store_true", help="no progress, warnings only")
    return parser


def run(options: argparse.Namespace) -> int:
    """Both searches and both matrices; the exit code."""
    from benchmark.console.commands import show_result
    from benchmark.embedded import MODEL_NAME
    from benchmark.executor_config import BenchmarkConfig
    from benchmark.hyperparameter_optimization import OptimizationConfig
    from benchmark.optimizer.optimized_executor import create_optimized_benchmark_executor
    from benchmark.report.search_picture import write_search_picture
    from benchmark.report.search_table import print_results
    from benchmark.report.text_table import table_console
    from benchmark.run.finish import CellResult
    from benchmark.run.ray_session import hold_ray
    from benchmark.run.result import MatrixResult
    from benchmark.tuning.cache import BestConfigCache
    from sparse_attention.config_types import make_config

    benchmark = BenchmarkConfig(
        "ruler",
        TASKS,
        {"lexicon": "embedded", "length": options.length, "samples": options.max_requests},
    )
    fixed = [
        ("dense", None),
        ("sink_local", make_config("sink_local")),
        *((f"{name}, default", make_config(name)) for name in SEARCHED),
    ]
    cells: list[CellResult] = []
    with hold_ray():
        for per_task in (False, True):
            settings = OptimizationConfig(
                num_samples=options.samples,
                optimization_metric="density_at_score",
                use_per_task_config=per_task,
                cache_dir=options.cache_dir,
            )
            executor = create_optimized_benchmark_executor(
                [], settings, results_dir=options.results_dir, quiet=options.quiet
            )
            result = executor.run_benchmark_matrix(
                [MODEL_NAME],
                [*([] if per_task else fixed), *((name, None) for name in SEARCHED)],
                [benchmark],
                request_kwargs={"max_requests": options.max_requests},
            )
            cells += result.cells
    code = show_result(MatrixResult(result.results_dir, tuple(cells)))
    results = BestConfigCache(options.cache_dir).read_all()
    picture = Path(options.results_dir) / "searches.png"
    write_search_picture(results, picture)
    console = table_console()
    print_results(results, console)
    console.print(f"picture of the searches: {picture}", markup=False, soft_wrap=True)
    return code


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code."""
    options = build_parser().parse_args(arguments)
    return execute(lambda: run(options), PROGRAM, "warning" if options.quiet else "info")


if __name__ == "__main__":
    sys.exit(main())
