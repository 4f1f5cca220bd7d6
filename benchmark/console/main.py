"""The console command ``sparse-bench``."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmark.console.parser import build_parser
from sparse_attention.program import one_line, run_program

if TYPE_CHECKING:
    from benchmark.run.requests import PoolFactory


def main(arguments: Sequence[str] | None = None, pool: PoolFactory | None = None) -> int:
    """Run the command; the exit code.  ``pool`` as for ``BenchmarkExecutor``."""
    options = build_parser().parse_args(arguments)

    def command() -> int:
        # Only now, because it takes seconds, which the help need not.
        from benchmark.console import commands

        match options.command:
            case "run":
                return commands.run(options, pool)
            case "ls":
                return commands.list_choices(options)
            case _:
                return commands.report(options)

    return execute(command, "sparse-bench", quiet=getattr(options, "quiet", False))


def execute(command: Callable[[], int], program: str, *, quiet: bool) -> int:
    """Run what a program does, with messages on standard error; the exit code."""

    def work() -> int:
        _set_up_logging(quiet=quiet)
        return command()

    return run_program(program, work)


class _OneLine(logging.Formatter):
    """Messages name models, labels and files, and repeat what these say."""

    def format(self, record: logging.LogRecord) -> str:
        return one_line(super().format(record))


def _set_up_logging(*, quiet: bool) -> None:
    from rich.logging import RichHandler

    from benchmark.run.progress import STDERR

    handler = RichHandler(console=STDERR, show_time=False, show_path=False, show_level=False)
    handler.setFormatter(_OneLine("%(message)s"))
    logger = logging.getLogger("benchmark")
    logger.handlers = [handler]
    logger.setLevel(logging.WARNING if quiet else logging.INFO)


if __name__ == "__main__":
    sys.exit(main())
