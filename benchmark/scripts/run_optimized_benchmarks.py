"""``sparse-bench tune`` with the names of arguments of old: ``--samples`` are trials."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from benchmark.console.arguments import HelpFormatter, add_search, add_selection, add_settings
from benchmark.console.fields import add_field
from benchmark.console.main import start
from benchmark.executor_config import RequestConfig
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
    """The command line; what it gives is named as that of ``sparse-bench tune``."""
    parser = Parser(
        prog=PROGRAM,
        description="Search the best settings of config types, then run the benchmark matrix with "
        "them.",
        epilog=_EPILOG,
        formatter_class=HelpFormatter,
    )
    parser.set_defaults(command="tune")
    what = add_selection(parser)
    what.add_argument(
        "--configs",
        nargs="+",
        metavar="TYPE",
        default=["dense"],
        help="config types; all but dense are searched. 'sparse_attention' searches the type too",
    )
    add_field(what, RequestConfig, "max_requests", default="all")
    add_search(parser, "--samples")
    add_settings(parser)
    return parser


def main(arguments: Sequence[str] | None = None, pool: PoolFactory | None = None) -> int:
    """Run the program; the exit code.  ``pool`` as for ``BenchmarkExecutor``."""
    return start(build_parser().parse_args(arguments), PROGRAM, pool)


if __name__ == "__main__":
    sys.exit(main())
