"""The command line of ``sparse-bench``: its commands and the help that explains them."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version

from benchmark.console.arguments import (
    HelpFormatter,
    add_samples,
    add_search,
    add_selection,
    add_settings,
    add_verbosity,
)
from benchmark.tuning.settings import DEFAULT_CACHE
from sparse_attention.program import Parser, number_between

_DESCRIPTION = """\
Measure what sparse attention methods cost and keep: answer long-context benchmarks with one model
under many attention configurations, from one prefill of each context; and find the settings that
cost least.
"""

_EPILOG = """\
examples:
  sparse-bench run --models embedded --benchmarks ruler --configs dense sink_local oracle_top_k
      the model that ships with the project; no network needed
  sparse-bench tune --models embedded --benchmarks ruler --configs dense magic_pig --samples 24
      search the settings of magic_pig, then compare them with dense attention
  sparse-bench best
  sparse-bench ls methods
  sparse-bench report results
      tables here, and the page results/report.html
  sparse-bench compare results --configs dense magic_pig
  sparse-bench show results/embedded/ruler/vt --sample 2

'sparse-bench COMMAND --help' says more. A run that was interrupted goes on when it is started again
with the same settings; what is finished is not computed again.
"""

_RUN_EPILOG = """\
examples:
  sparse-bench run --models embedded --benchmarks ruler --configs dense sink_local oracle_top_k
      the model that ships with the project; no network needed
  sparse-bench run --models ./my-model --benchmarks ruler --option ruler.length=8192 \\
      --subsets niah_single_2 vt --configs dense magic_pig --samples 50
  sparse-bench run --models embedded --benchmarks ruler --config-file my.json --configs dense
      my.json: {"methods": [{"name": "sink", "sink_size": 8}, {"name": "local"}]}
            or {"small": {"methods": [...]}, "large": {"methods": [...]}}

A run that was interrupted goes on when it is started again with the same settings; what is
finished is not computed again. 'sparse-bench ls' lists what there is to choose from.

exit codes: 0 all done; 1 some cell or sample failed; 2 bad input; 130 interrupted, 143 ended by
SIGTERM (what was answered is kept).
"""

_TUNE_EPILOG = """\
examples:
  sparse-bench tune --models embedded --benchmarks ruler --subsets vt --configs dense magic_pig
  sparse-bench tune --models embedded --benchmarks ruler --configs dense sparse_attention \\
      --trials 40 --samples 50 --per-task
      search the config type too, for each task by itself
  sparse-bench tune --models embedded --benchmarks ruler --configs dense quest \\
      --search-space 'page_size=[4,8]' --objective score_at_density --density-budget 0.2
  sparse-bench best --export best.json

Every search and every answer is kept: what was interrupted goes on when it is started again.

exit codes: 0 all done; 1 some search, cell or sample failed; 2 bad input; 130 interrupted, 143
ended by SIGTERM (what was answered is kept).
"""

_BEST_EPILOG = """\
examples:
  sparse-bench best
  sparse-bench best --configs magic_pig --tasks ruler_vt
  sparse-bench best --configs magic_pig --tasks global --export best.json
      a file for 'sparse-bench run --config-file best.json'

exit codes: 0 found; 1 there is none like that, or it is infeasible and not forced; 2 bad input.
"""


_COMPARE_EPILOG = """\
examples:
  sparse-bench compare results-before results-after
  sparse-bench compare results --configs dense magic_pig
  sparse-bench compare results/embedded/ruler/vt/dense-8787c549 other/embedded/ruler/vt

A difference is significant if its 95% interval leaves 0 out.
"""


def build_parser() -> Parser:
    """The parser of all commands."""
    parser = Parser(
        prog="sparse-bench",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=_version())
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_run(commands)
    _add_tune(commands)
    _add_best(commands)
    _add_report(commands)
    _add_plot(commands)
    _add_compare(commands)
    _add_watch(commands)
    _add_show(commands)
    _add_ls(commands)
    return parser


def _version() -> str:
    try:
        own = version("sparse-bench")
    except PackageNotFoundError:
        own = "(not installed)"
    return f"%(prog)s {own}, Python {platform.python_version()}"


def _add_command(
    commands: argparse._SubParsersAction, name: str, what: str, epilog: str | None = None
) -> argparse.ArgumentParser:
    return commands.add_parser(
        name,
        help=what,
        description=f"{what[0].upper()}{what[1:]}.",
        epilog=epilog,
        formatter_class=HelpFormatter,
    )


def _add_run(commands: argparse._SubParsersAction) -> None:
    what = "answer benchmarks under attention configurations and show the comparison"
    run = _add_command(commands, "run", what, _RUN_EPILOG)
    selection = add_selection(run)
    selection.add_argument(
        "--configs",
        nargs="+",
        metavar="TYPE",
        default=argparse.SUPPRESS,
        help="config types with their default settings; see 'sparse-bench ls config-types' "
        "(default: dense, unless a --config-file is given)",
    )
    add_samples(selection)
    add_settings(run)


def _add_tune(commands: argparse._SubParsersAction) -> None:
    what = "search the best settings of config types, then run the comparison with them"
    tune = _add_command(commands, "tune", what, _TUNE_EPILOG)
    selection = add_selection(tune)
    selection.add_argument(
        "--configs",
        nargs="+",
        required=True,
        metavar="TYPE",
        help="config types; all that have settings are searched, which dense has not. "
        "'sparse_attention' searches the type too; see 'sparse-bench ls config-types'",
    )
    add_samples(selection)
    add_search(tune, "--trials", objective="density_at_score")
    add_settings(tune)


def _add_best(commands: argparse._SubParsersAction) -> None:
    what = "show the best settings that searches found, or export them"
    best = _add_command(commands, "best", what, _BEST_EPILOG)
    best.add_argument("--cache-dir", default=DEFAULT_CACHE, metavar="DIR", help="what tune filled")
    for name, metavar, kind in (
        ("--models", "MODEL", "models"),
        ("--configs", "TYPE", "config types"),
        ("--tasks", "TASK", "tasks, each benchmark_subset, or global"),
    ):
        best.add_argument(
            name,
            nargs="+",
            metavar=metavar,
            default=argparse.SUPPRESS,
            help=f"only these {kind} (default: all)",
        )
    best.add_argument(
        "--all", action="store_true", default=argparse.SUPPRESS, help="older results too"
    )
    best.add_argument(
        "--export",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="write the configurations as JSON that --config-file takes, several by name, in place "
        "of the table; - is standard output",
    )
    best.add_argument(
        "--force",
        action="store_true",
        default=argparse.SUPPRESS,
        help="export also what violates its search's constraint",
    )
    add_verbosity(best)


def _add_report(commands: argparse._SubParsersAction) -> None:
    what = "show the results in a folder: tables, report.md and pictures beside them, and a page"
    report = _add_command(commands, "report", what)
    report.add_argument("results_dir", metavar="RESULTS", help="what --results-dir named")
    report.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the page, one HTML file that works from disk (default: report.html in the folder)",
    )
    _add_cache_dir(report)
    add_verbosity(report)


def _add_plot(commands: argparse._SubParsersAction) -> None:
    plot = _add_command(commands, "plot", "draw the main figures of results for a paper")
    plot.add_argument("results_dir", metavar="RESULTS", help="what --results-dir named")
    plot.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="folder of the files (default: figures in the results folder)",
    )
    plot.add_argument("--format", nargs="+", choices=("png", "svg", "pdf"), default=["png"])
    _add_cache_dir(plot)
    add_verbosity(plot)


def _add_compare(commands: argparse._SubParsersAction) -> None:
    what = "compare two results, paired where the samples are the same"
    compare = _add_command(commands, "compare", what, _COMPARE_EPILOG)
    compare.add_argument("left", metavar="A", help="a results folder, or a folder within one")
    compare.add_argument(
        "right",
        metavar="B",
        nargs="?",
        default=argparse.SUPPRESS,
        help="the same (default: A, for two configurations of it)",
    )
    compare.add_argument(
        "--configs",
        nargs=2,
        metavar=("LEFT", "RIGHT"),
        default=argparse.SUPPRESS,
        help="labels of one configuration in A and one in B (default: all, by their labels)",
    )
    add_verbosity(compare)


def _add_watch(commands: argparse._SubParsersAction) -> None:
    what = "show how far a matrix or a search in a folder is, until interrupted"
    watch = _add_command(commands, "watch", what)
    watch.add_argument("results_dir", metavar="RESULTS", help="what --results-dir named")
    watch.add_argument("--once", action="store_true", help="show it once")
    watch.add_argument(
        "--interval",
        type=number_between(0.2, 3600.0),
        default=2.0,
        metavar="SECONDS",
        help="between two looks",
    )
    _add_cache_dir(watch)
    add_verbosity(watch)


def _add_cache_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--cache-dir",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="searches, as tune named it (default: hyperparameter_cache in the folder)",
    )


def _add_show(commands: argparse._SubParsersAction) -> None:
    what = "show one sample: its prompt, its references and the answers of all configurations"
    show = _add_command(commands, "show", what)
    show.add_argument("folder", metavar="FOLDER", help="of a subset, or of one configuration in it")
    show.add_argument("--sample", default="1", help="its number, from 1, or its id")
    add_verbosity(show)


def _add_ls(commands: argparse._SubParsersAction) -> None:
    listing = _add_command(commands, "ls", "list what there is to choose from")
    listing.add_argument(
        "kind",
        nargs="?",
        choices=("benchmarks", "subsets", "methods", "config-types", "results"),
        help="only this kind (default: all of them but results)",
    )
    listing.add_argument(
        "folder", nargs="?", metavar="RESULTS", default="results", help="the folder of results"
    )
    add_verbosity(listing)
