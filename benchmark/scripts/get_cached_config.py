"""Show the best settings that were found.

python benchmark/scripts/get_cached_config.py --config-type magic_pig --show-all
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.console.main import execute
from sparse_attention.program import Parser, complain

if TYPE_CHECKING:
    from benchmark.tuning.cache import CachedResult

PROGRAM = "get_cached_config.py"
NOT_FOUND = 1

_EPILOG = """\
examples:
  get_cached_config.py --config-type magic_pig --show-all
  get_cached_config.py --config-type magic_pig --task loogle_shortdep_qa
  get_cached_config.py --config-type magic_pig --create-optimized > best.json
      a file for 'sparse-bench run --config-file best.json'

exit codes: 0 found; 1 there is none like that, or it is infeasible and not forced; 2 bad input.
"""


def build_parser() -> Parser:
    """The command line."""
    parser = Parser(
        prog=PROGRAM,
        description="Show the best settings that were found.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cache-dir", default="./results/hyperparameter_cache", help="(%(default)s)")
    add("--config-type", help="only this one")
    add("--model", help="only this one")
    add("--task", help="only this one: benchmark_subset, or global")
    add("--show-all", action="store_true", help="all results, older ones too")
    add(
        "--create-optimized",
        action="store_true",
        help="print the configuration as JSON that loads back (several: by name), not a table",
    )
    add("--force", action="store_true", help="print also what violates its search's constraint")
    return parser


def run(options: argparse.Namespace) -> int:
    """Print what was asked for; the exit code."""
    from rich.console import Console

    from benchmark.tuning.cache import BestConfigCache
    from benchmark.tuning.cache_table import print_results

    everything = BestConfigCache(options.cache_dir).read_all()
    found = [result for result in everything if _matches(result, options)]
    if not options.show_all:
        found = _newest(found)
    if not found:
        _explain(options, everything)
        return NOT_FOUND
    infeasible = [result for result in found if not result.feasible]
    if options.create_optimized:
        if infeasible and not options.force:
            for result in infeasible:
                names = result.names
                what = f"{names.config_type} {names.task}: {result.remarks[0]}"
                complain(f"{PROGRAM}: {what}; --force prints it all the same.")
            return NOT_FOUND
        single = found[0].config.to_json() if len(found) == 1 else _named(found)
        print(json.dumps(single, indent=2))
    else:
        print_results(found, Console())
    return 0


def _matches(result: CachedResult, options: argparse.Namespace) -> bool:
    names = result.names
    wanted = (
        (options.config_type, names.config_type),
        (options.model, names.model),
        (options.task, names.task),
    )
    return all(asked is None or asked == found for asked, found in wanted)


def _newest(results: Sequence[CachedResult]) -> list[CachedResult]:
    """The newest result of each search, in the order of the names."""
    newest: dict[object, CachedResult] = {}
    for result in sorted(results, key=lambda result: result.document["created"]):
        newest[result.names] = result
    return sorted(newest.values(), key=lambda result: result.path.name)


def _named(results: Sequence[CachedResult]) -> dict[str, object]:
    """Configurations by config type and task, with the model where there are several."""
    several = len({result.names.model for result in results}) > 1
    named: dict[str, object] = {}
    for result in results:
        parts = [result.names.config_type, result.names.task]
        name = "_".join([result.names.model, *parts] if several else parts)
        if name in named:
            name = f"{name}-{result.path.stem[-8:]}"
        named[name] = result.config.to_json()
    return named


def _explain(options: argparse.Namespace, everything: Sequence[CachedResult]) -> None:
    asked = {
        name: value
        for name, value in (
            ("config type", options.config_type),
            ("model", options.model),
            ("task", options.task),
        )
        if value is not None
    }
    what = ", ".join(f"{name} {value!r}" for name, value in asked.items()) or "anything"
    complain(f"{PROGRAM}: no cached result for {what} in {options.cache_dir}.")
    for names in dict.fromkeys(result.names for result in everything):
        complain(f"there is: {names.config_type} {names.task} ({names.model})")
    if not everything:
        complain("nothing is there; run_optimized_benchmarks.py fills it.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code."""
    options = build_parser().parse_args(arguments)
    return execute(lambda: run(options), PROGRAM, quiet=False)


if __name__ == "__main__":
    sys.exit(main())
