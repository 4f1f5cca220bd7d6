"""Show the best settings that were found: ``sparse-bench best`` with other names of arguments.

python benchmark/scripts/get_cached_config.py --config-type magic_pig --show-all
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from benchmark.console.main import start
from benchmark.tuning.settings import DEFAULT_CACHE
from sparse_attention.program import Parser

PROGRAM = "get_cached_config.py"

_EPILOG = """\
examples:
  get_cached_config.py --config-type magic_pig --show-all
  get_cached_config.py --config-type magic_pig --task loogle_shortdep_qa
  get_cached_config.py --config-type magic_pig --create-optimized > best.json
      a file for 'sparse-bench run --config-file best.json'

exit codes: 0 found; 1 there is none like that, or it is infeasible and not forced; 2 bad input.
"""


def build_parser() -> Parser:
    """The command line; what it gives is named as that of ``sparse-bench best``."""
    parser = Parser(
        prog=PROGRAM,
        description="Show the best settings that were found.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
    )
    parser.set_defaults(command="best", verbosity="info")
    add = parser.add_argument
    add("--cache-dir", default=DEFAULT_CACHE, help="(%(default)s)")
    add("--config-type", dest="configs", nargs=1, metavar="TYPE", help="only this one")
    add("--model", dest="models", nargs=1, help="only this one")
    add(
        "--task",
        dest="tasks",
        nargs=1,
        metavar="TASK",
        help="only this one: benchmark_subset, or global",
    )
    add("--show-all", dest="all", action="store_true", help="all results, older ones too")
    add(
        "--create-optimized",
        dest="export",
        action="store_const",
        const="-",
        help="print the configuration as JSON that loads back (several: by name), not a table",
    )
    add("--force", action="store_true", help="print also what violates its search's constraint")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; the exit code."""
    return start(build_parser().parse_args(arguments), PROGRAM)


if __name__ == "__main__":
    sys.exit(main())
