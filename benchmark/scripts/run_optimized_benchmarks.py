"""Search the best settings of config types, then run the matrix with them; see ``--help``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from benchmark.console.fields import add_field, given_fields
from benchmark.console.main import execute
from benchmark.console.parser import HelpFormatter, add_selection, add_settings
from benchmark.executor_config import RequestConfig
from benchmark.tuning.settings import OptimizationConfig
from sparse_attention.program import Parser

if TYPE_CHECKING:
    from benchmark.run.requests import PoolFactory

PROGRAM = "run_optimized_benchmarks.py"

_EPILOG = """\
example:
  python benchmark/scripts/run_optimized_benchmarks.py --models embedded --benchmarks ruler \\
      --configs dense magic_pig local_masker --samples 10 --max-requests 50

Every search and every answer is kept: a run that was interrupted goes on when it is started again.
exit codes: 0 all done; 1 some search, cell or sample failed; 2 bad input; 130 interrupted, 143
ended by SIGTERM (what was answered is kept).
"""


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(
        prog=PROGRAM,
        description="Search the best settings of config types, then run the benchmark matrix with "
        "them.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    what = add_selection(parser)
    what.add_argument(
        "--configs",
        nargs="+",
        metavar="TYPE",
        default=["dense"],
        help="config types; all but dense are searched. 'sparse_attention' searches the type too",
    )
    add_field(what, RequestConfig, "max_requests", default="all")
    add_search(parser)
    add_settings(parser)
    return parser


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a search: fields of ``OptimizationConfig``."""
    search = parser.add_argument_group("how to search")
    add = partial(add_field, search, OptimizationConfig)
    add("num_samples", "--samples")
    add("optimization_metric", "--objective")
    add("use_per_task_config", "--per-task", action=argparse.BooleanOptionalAction)
    for field in ("penalty", "density_budget", "tolerance", "held_out", "max_tuning_samples"):
        add(field)
    add("search_algorithm")
    add("scheduler")
    add(
        "search_space",
        default="none; may be repeated",
        action="append",
        type=str,
        metavar="FIELD=JSON",
    )
    add("max_concurrent_trials")
    add("timeout_per_trial", default="none", metavar="SECONDS")
    add("time_limit", default="none", metavar="SECONDS")
    add("seed")
    add("cache_dir", metavar="DIR")
    add("enabled", "--no-optimization", help="no search: default settings")


def optimization_config(options: argparse.Namespace) -> OptimizationConfig:
    """How to search, from the command line."""
    given = given_fields(OptimizationConfig, options)
    return OptimizationConfig(
        **{**given, "search_space": _search_space(given.get("search_space", ()))}
    )


def _search_space(texts: Sequence[str]) -> dict[str, Any]:
    from sparse_attention.errors import UserError
    from sparse_attention.reading import parse_json, shown

    space: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not (equals and name):
            raise UserError(f"search space {shown(text)} is not of the form FIELD=JSON.")
        if name in space:
            raise UserError(f"the search space of {name} is given twice; give it once.")
        space[name] = parse_json(value, f"search space of {name}")
    return space


def run(options: argparse.Namespace, pool: PoolFactory | None) -> int:
    """Both phases; the exit code."""
    from benchmark.console.commands import adapter_config, benchmarks, named_files, show_result
    from benchmark.optimizer.optimized_executor import create_optimized_benchmark_executor

    given = vars(options)
    executor = create_optimized_benchmark_executor(
        given.get("gpu_ids"),
        optimization_config(options),
        results_dir=options.results_dir,
        num_workers=given.get("num_workers"),
        quiet=options.quiet,
        pool=pool,
    )
    result = executor.run_benchmark_matrix(
        options.models,
        [*((name, None) for name in options.configs), *named_files(given.get("config_file", []))],
        benchmarks(options.benchmarks, given),
        adapter_config(options),
        given_fields(RequestConfig, options),
    )
    return show_result(result)


def main(arguments: Sequence[str] | None = None, pool: PoolFactory | None = None) -> int:
    """Run the program; the exit code.  ``pool`` as for ``BenchmarkExecutor``."""
    options = build_parser().parse_args(arguments)
    return execute(lambda: run(options, pool), PROGRAM, quiet=options.quiet)


if __name__ == "__main__":
    sys.exit(main())
