"""The console command ``sparse-bench``."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from benchmark.console.ending import leaving_at_once, run_to_its_end

if TYPE_CHECKING:
    from benchmark.run.requests import PoolFactory

PROGRAM = "sparse-bench"


def main(arguments: Sequence[str] | None = None, pool: PoolFactory | None = None) -> int:
    """Run the command; the exit code.  ``pool`` as for ``BenchmarkExecutor``."""
    with leaving_at_once(PROGRAM):
        from benchmark.console.parser import build_parser

        options = build_parser().parse_args(arguments)

    def command() -> int:
        with leaving_at_once(PROGRAM):
            # Only now, because it takes seconds, which the help need not.
            from benchmark.console import commands

        match options.command:
            case "run":
                return commands.run(options, pool)
            case "ls":
                return commands.list_choices(options)
            case "show":
                return commands.show(options)
            case _:
                return commands.report(options)

    return execute(command, PROGRAM, quiet=getattr(options, "quiet", False))


def execute(command: Callable[[], int], program: str, *, quiet: bool) -> int:
    """Run what a program does, with messages on standard error; the exit code."""
    with leaving_at_once(program):
        from benchmark.console.logs import set_up_logging
        from sparse_attention.program import run_program

        set_up_logging(quiet=quiet)
    return run_program(program, lambda: run_to_its_end(program, command))


if __name__ == "__main__":
    sys.exit(main())
