"""Arguments of the commands that look at results."""

from __future__ import annotations

import argparse

from benchmark.console.arguments import add_command, add_verbosity
from benchmark.exports import FORMS
from benchmark.picture_formats import FORMATS
from sparse_attention.program import number_between

_COMPARE_EPILOG = """\
examples:
  sparse-bench compare results-before results-after
  sparse-bench compare results --configs dense magic_pig
  sparse-bench compare results/embedded/ruler/vt/dense-8787c549 other/embedded/ruler/vt

A difference is significant if its 95% interval leaves 0 out.
"""


def add_plot(commands: argparse._SubParsersAction) -> None:
    """Add ``plot``."""
    plot = add_command(commands, "plot", "draw the main figures of results for a paper")
    add_results(plot)
    plot.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="folder of the files (default: figures in the results folder)",
    )
    plot.add_argument("--format", nargs="+", choices=tuple(FORMATS), default=["png"])
    add_cache_dir(plot)
    add_verbosity(plot)


def add_compare(commands: argparse._SubParsersAction) -> None:
    """Add ``compare``."""
    what = "compare two results, paired where the samples are the same"
    compare = add_command(commands, "compare", what, _COMPARE_EPILOG)
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


def add_watch(commands: argparse._SubParsersAction) -> None:
    """Add ``watch``."""
    what = "show how far a matrix or a search in a folder is, until interrupted"
    watch = add_command(commands, "watch", what)
    add_results(watch)
    watch.add_argument("--once", action="store_true", help="show it once")
    watch.add_argument(
        "--interval",
        type=number_between(0.2, 3600.0),
        default=2.0,
        metavar="SECONDS",
        help="between two looks",
    )
    add_cache_dir(watch)
    add_verbosity(watch)


def add_export(commands: argparse._SubParsersAction) -> None:
    """Add ``export``."""
    export = add_command(commands, "export", "write results in the form of another tool")
    add_results(export)
    export.add_argument("--to", required=True, choices=FORMS, help="the form")
    export.add_argument(
        "-o",
        "--output",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="folder of the files (default: RESULTS-exports/FORM beside the results)",
    )
    add_verbosity(export)


def add_results(command: argparse.ArgumentParser) -> None:
    """Add which results."""
    command.add_argument("results_dir", metavar="RESULTS", help="what --results-dir named")


def add_cache_dir(command: argparse.ArgumentParser) -> None:
    """Add where searches are."""
    command.add_argument(
        "--cache-dir",
        metavar="DIR",
        default=argparse.SUPPRESS,
        help="searches, as tune named it (default: hyperparameter_cache in the folder)",
    )
