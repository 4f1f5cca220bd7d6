"""Search the best settings of config types, then run the matrix with them; see ``--help``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from benchmark.console.main import execute
from benchmark.console.parser import HelpFormatter, add_selection, add_settings

if TYPE_CHECKING:
    from benchmark.run.requests import PoolFactory

PROGRAM = "run_optimized_benchmarks.py"
_DEFAULT_CACHE = "./results/hyperparameter_cache"

_EPILOG = """\
example:
  python benchmark/scripts/run_optimized_benchmarks.py --models embedded --benchmarks ruler \\
      --configs dense magic_pig local_masker --samples 10 --max-requests 50

Every search and every answer is kept: a run that was interrupted goes on when it is started again.
exit codes: 0 all done; 1 some search, cell or sample failed; 2 bad input; 130 interrupted.
"""


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(
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
    what.add_argument(
        "--max-requests",
        type=int,
        metavar="N",
        default=argparse.SUPPRESS,
        help="samples of each subset, split into those for the search and those held out",
    )
    add_search(parser)
    add_settings(parser)
    return parser


def add_search(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of a search; the defaults are those of ``OptimizationConfig``."""
    search = parser.add_argument_group("how to search")
    add = search.add_argument
    given: dict[str, Any] = {"default": argparse.SUPPRESS}
    add("--samples", type=int, dest="num_samples", metavar="N", **given, help="trials (20)")
    add(
        "--objective",
        dest="optimization_metric",
        metavar="NAME",
        **given,
        help="combined_score (the default), benchmark_score, attention_error, density, "
        "score_at_density, density_at_score or pareto",
    )
    add(
        "--per-task",
        dest="use_per_task_config",
        action=argparse.BooleanOptionalAction,
        **given,
        help="the best settings for each task (default: one for all tasks)",
    )
    add("--penalty", type=float, **given, help="of 1 - score in combined_score (1)")
    add("--density-budget", type=float, **given, help="for score_at_density (0.1)")
    add("--tolerance", type=float, **given, help="for density_at_score and pareto (0.02)")
    add("--held-out", type=float, **given, help="share of contexts kept from the search (0.5)")
    add("--max-tuning-samples", type=int, metavar="N", **given, help="that the search sees at most")
    add("--search-algorithm", metavar="NAME", **given, help="tpe, random, grid or evolutionary")
    add("--scheduler", metavar="NAME", **given, help="asha (stops bad trials early) or none")
    add(
        "--search-space",
        action="append",
        metavar="FIELD=JSON",
        default=[],
        help="values or a range for a field: lsh_k=[8,10], sink_size=4, "
        'oracle_top_k.heavy_size={"low":0.01,"high":0.2,"log":true}; may be repeated',
    )
    add("--max-concurrent-trials", type=int, metavar="N", **given, help="trials at a time (16)")
    add("--timeout-per-trial", type=float, metavar="SECONDS", **given, help="(none)")
    add("--time-limit", type=float, metavar="SECONDS", **given, help="of all trials (none)")
    add("--seed", type=int, **given, help="of the split, the order of samples and the search (0)")
    add("--cache-dir", default=_DEFAULT_CACHE, metavar="DIR", help="best settings, evaluations")
    search.add_argument(
        "--no-optimization",
        dest="enabled",
        action="store_false",
        help="no search: default settings",
    )


def optimization_config(options: argparse.Namespace) -> Any:
    """The ``OptimizationConfig`` of the command line."""
    from benchmark.hyperparameter_optimization import OptimizationConfig

    given = {
        name: value for name, value in vars(options).items() if name in _fields(OptimizationConfig)
    }
    return OptimizationConfig(**{**given, "search_space": _search_space(options.search_space)})


def _fields(model: Any) -> set[str]:
    return set(model.model_fields)


def _search_space(texts: Sequence[str]) -> dict[str, Any]:
    from sparse_attention.errors import UserError

    space: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            space[name] = json.loads(value)
        except ValueError as error:
            raise UserError(
                f"search space {text!r} is not of the form FIELD=JSON ({error})."
            ) from error
        if not (equals and name):
            raise UserError(f"search space {text!r} is not of the form FIELD=JSON.")
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
        {"max_requests": given.get("max_requests")},
    )
    return show_result(result)


def main(arguments: Sequence[str] | None = None, pool: PoolFactory | None = None) -> int:
    """Run the program; the exit code.  ``pool`` as for ``BenchmarkExecutor``."""
    options = build_parser().parse_args(arguments)
    return execute(lambda: run(options, pool), PROGRAM, quiet=options.quiet)


if __name__ == "__main__":
    sys.exit(main())
