"""The console command ``sparse-bench``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType
from typing import TYPE_CHECKING

from benchmark.console.ending import leaving_at_once, run_to_its_end
from benchmark.console.lazy import load_imports, put_off_imports

if TYPE_CHECKING:
    from benchmark.run.requests import PoolFactory

PROGRAM = "sparse-bench"


def main(arguments: Sequence[str] | None = None, pool: PoolFactory | None = None) -> int:
    """Run the command; the exit code.  ``pool`` as for ``BenchmarkExecutor``."""
    with leaving_at_once(PROGRAM):
        from benchmark.console.parser import build_parser
        from benchmark.console.study import with_study
        from sparse_attention.program import run_program

        given = list(sys.argv[1:] if arguments is None else arguments)
        options = argparse.Namespace(only_check=given[:1] == ["validate"])

        def read() -> int:
            parser = build_parser()
            parser.parse_args(with_study(parser, given), options)
            return 0

        code = run_program(PROGRAM, read)
    return code or start(options, PROGRAM, pool)


def start(options: argparse.Namespace, program: str, pool: PoolFactory | None = None) -> int:
    """Do what ``options.command`` says in the name of a program; the exit code."""
    return execute(lambda: _command(options, program, pool), program, options.verbosity)


def execute(command: Callable[[], int], program: str, verbosity: str) -> int:
    """Run what a program does, with messages on standard error; the exit code."""
    with leaving_at_once(program):
        from benchmark.console.logs import set_up_logging
        from sparse_attention.program import run_program

        set_up_logging(verbosity)
    return run_program(program, lambda: run_to_its_end(program, command))


def _command(options: argparse.Namespace, program: str, pool: PoolFactory | None) -> int:
    if "ray_address" in options:
        os.environ["RAY_ADDRESS"] = options.ray_address
    put_off_imports()
    match options.command:
        case "plot" | "compare" | "watch" | "export":
            return getattr(_looking(program), options.command)(options)
        case "ls" if options.kind == "results":
            return _looking(program).list_results(vars(options).get("folder", "results"))
        case "ls":
            if "folder" in options:
                from sparse_attention.errors import UserError
                from sparse_attention.reading import shown

                raise UserError(f"{shown(options.folder)}: only 'ls results' takes a folder.")
            with leaving_at_once(program):
                from benchmark.console.listing import list_choices
            return list_choices(options.kind)
        case "best":
            with leaving_at_once(program):
                from benchmark.console.best import show_best
            return show_best(options, program)
        case "run":
            with leaving_at_once(program):
                from benchmark.console.selection import select_run
            selection = select_run(options)
            if _is_checked(options):
                return 0
            with _study_beside_results(options):
                return _commands(program).run(options, selection, pool)
        case "tune":
            with leaving_at_once(program):
                from benchmark.console.selection import select_tune
            selection, search = select_tune(options)
            if _is_checked(options):
                return 0
            with _study_beside_results(options):
                return _commands(program).tune(options, selection, search, pool)
        case _:
            return getattr(_reports(program), options.command)(options)


def _is_checked(options: argparse.Namespace) -> bool:
    """Whether only the check was asked for."""
    checked = bool(vars(options).get("only_check"))
    if checked:
        print("valid")
    return checked


@contextmanager
def _study_beside_results(options: argparse.Namespace) -> Iterator[None]:
    """Write what was asked for beside what came of it, also of what was interrupted."""
    from sparse_attention.errors import UserError

    try:
        yield
    except UserError:
        raise
    except BaseException:
        _write_study(options)
        raise
    else:
        _write_study(options)


def _write_study(options: argparse.Namespace) -> None:
    from pathlib import Path

    from benchmark.console.parser import build_parser
    from benchmark.console.study import write_study

    folder = Path(options.results_dir)
    if folder.is_dir() and not vars(options).get("dry_run"):
        write_study(folder, build_parser(), options)


def _commands(program: str) -> ModuleType:
    """The commands that compute, imported only now, because it takes seconds."""
    with leaving_at_once(program):
        load_imports()
        from benchmark.console import commands
    return commands


def _reports(program: str) -> ModuleType:
    with leaving_at_once(program):
        load_imports()
        from benchmark.console import reports
    return reports


def _looking(program: str) -> ModuleType:
    with leaving_at_once(program):
        load_imports()
        from benchmark.console import looking
    return looking


if __name__ == "__main__":
    sys.exit(main())
