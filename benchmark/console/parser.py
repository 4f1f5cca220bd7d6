"""The command line of ``sparse-bench``: its commands and the help that explains them."""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version

from benchmark.console.arguments import (
    add_command,
    add_samples,
    add_search,
    add_selection,
    add_settings,
    add_verbosity,
)
from benchmark.console.looking_arguments import (
    add_cache_dir,
    add_compare,
    add_export,
    add_plot,
    add_results,
    add_watch,
)
from benchmark.tuning.settings import DEFAULT_CACHE
from sparse_attention.program import Parser

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

_VALIDATE_EPILOG = """\
examples:
  sparse-bench validate study.yaml
  sparse-bench run study.yaml --limit 10
      study.yaml: models: embedded
                  benchmarks: [ruler]
                  configs: [dense, snapkv]
                  limit: 50
      'command: tune' in it makes it a study for tune; options after its name replace its own

exit codes: 0 valid; 2 not.
"""

_BEST_EPILOG = """\
examples:
  sparse-bench best
  sparse-bench best --configs magic_pig --tasks ruler_vt
  sparse-bench best --configs magic_pig --tasks global --export best.json
      a file for 'sparse-bench run --config-file best.json'

exit codes: 0 found; 1 there is none like that, or it is infeasible and not forced; 2 bad input.
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
    _add_validate(commands)
    _add_best(commands)
    _add_report(commands)
    add_plot(commands)
    add_compare(commands)
    add_watch(commands)
    add_export(commands)
    _add_show(commands)
    _add_ls(commands)
    return parser


def _version() -> str:
    try:
        own = version("sparse-bench")
    except PackageNotFoundError:
        own = "(not installed)"
    return f"%(prog)s {own}, Python {platform.python_version()}"


def _add_run(commands: argparse._SubParsersAction) -> None:
    what = "answer benchmarks under attention configurations and show the comparison"
    run = add_command(commands, "run", what, _RUN_EPILOG)
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
    run.add_argument(
        "--dry-run",
        action="store_true",
        help="compute nothing: show cells, samples, tokens, what is there, time and memory",
    )


def _add_tune(commands: argparse._SubParsersAction) -> None:
    what = "search the best settings of config types, then run the comparison with them"
    tune = add_command(commands, "tune", what, _TUNE_EPILOG)
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


def _add_validate(commands: argparse._SubParsersAction) -> None:
    what = "check a study, a YAML file whose keys are the options of run or tune"
    validate = add_command(commands, "validate", what, _VALIDATE_EPILOG)
    validate.add_argument("study", metavar="STUDY.yaml", help="a name that ends in .yaml or .yml")
    add_verbosity(validate)


def _add_best(commands: argparse._SubParsersAction) -> None:
    what = "show the best settings that searches found, or export them"
    best = add_command(commands, "best", what, _BEST_EPILOG)
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
    report = add_command(commands, "report", what)
    add_results(report)
    report.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="the page, one HTML file that works from disk (default: report.html in the folder)",
    )
    add_cache_dir(report)
    add_verbosity(report)


def _add_show(commands: argparse._SubParsersAction) -> None:
    what = "show one sample: its prompt, its references and the answers of all configurations"
    show = add_command(commands, "show", what)
    show.add_argument("folder", metavar="FOLDER", help="of a subset, or of one configuration in it")
    show.add_argument("--sample", default="1", help="its number, from 1, or its id")
    add_verbosity(show)


def _add_ls(commands: argparse._SubParsersAction) -> None:
    listing = add_command(commands, "ls", "list what there is to choose from")
    listing.add_argument(
        "kind",
        nargs="?",
        choices=("benchmarks", "subsets", "methods", "config-types", "results"),
        help="only this kind (default: all of them but results)",
    )
    listing.add_argument(
        "folder",
        nargs="?",
        metavar="RESULTS",
        default=argparse.SUPPRESS,
        help="with results: their folder (default: results)",
    )
    add_verbosity(listing)
