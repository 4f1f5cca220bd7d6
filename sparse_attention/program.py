"""What every program of the project does around its work: arguments, messages, the last net."""

from __future__ import annotations

import argparse
import errno
import io
import os
import platform
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NoReturn

from pydantic import ValidationError

from sparse_attention.errors import UserError, explain, first_line, nearest, unknown_name
from sparse_attention.printable import terminal_text
from sparse_attention.reading import shown

FAILED = 1
BAD_INPUT = 2
INTERRUPTED = 130

_LONGEST_MESSAGE = 2000
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REPEATABLE = (argparse._AppendAction, argparse._SubParsersAction)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and that takes nothing silently.

    Names are never abbreviated, an argument is given once unless it collects several, and ``--`` is
    no value.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with code 2."""
        self.exit(BAD_INPUT, f"{self.prog}: error: {one_line(message)} (see {self.prog} --help)\n")

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Arguments as a namespace; what is not known is an error here too."""
        given = list(sys.argv[1:] if args is None else args)
        self._check(given)
        found, rest = super().parse_known_args(given, namespace)
        if rest:
            self.error(f"unknown argument {shown(rest[0])}.{nearest(rest[0], self._names())}")
        return found, rest

    def _check(self, given: Iterable[str]) -> None:
        seen: dict[argparse.Action, str] = {}
        for argument in given:
            if not argument.isprintable() and ("\0" in argument or not _is_text(argument)):
                self.error(f"the argument {shown(argument)} is not text in UTF-8 without NUL")
            if argument == "--":
                self.error("'--' is no value; put ./ before a path that begins with a dash")
            name = argument.partition("=")[0]
            action = self._option_string_actions.get(name)
            if action is None or isinstance(action, _REPEATABLE):
                continue
            if action in seen:
                again = name if seen[action] == name else f"{seen[action]} and {name}"
                self.error(f"{again} is given twice; give it once")
            seen[action] = name

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            kind = action.option_strings[0] if action.option_strings else action.metavar
            problem = unknown_name(str(kind or action.dest), value, map(str, action.choices))
            raise argparse.ArgumentError(None, str(problem))

    def _names(self) -> list[str]:
        return list(self._option_string_actions)


def number_between(low: Any, high: Any) -> Callable[[str], Any]:
    """A type of argument: numbers of the type of the bounds, both of them included."""

    def read(text: str) -> Any:
        try:
            value = type(low)(text)
        except ValueError:
            value = None
        if value is None or not low <= value <= high:
            kind = "a whole number" if isinstance(low, int) else "a number"
            raise argparse.ArgumentTypeError(
                f"must be {kind} from {low} to {high}, got {text!r:.40}"
            )
        return value

    return read


def run_program(program: str, work: Callable[[], int]) -> int:
    """Do what a program does; the exit code.

    Bad input becomes one line and exit code 2.  So does, with exit code 1, what nobody foresaw: its
    traceback goes to a file.  What standard output cannot hold, of names and answers, is escaped.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return work()
    except ValidationError as error:
        return _say(program, f"error: {explain(error)}", BAD_INPUT)
    except UserError as error:
        return _say(program, f"error: {error}", BAD_INPUT)
    except KeyboardInterrupt:
        message = "interrupted; what was finished is kept, run again to go on."
        return _say(program, message, INTERRUPTED)
    except BrokenPipeError:
        # Whoever read the output has gone; Python would complain again when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except Exception as error:
        return _say(program, f"error: {_unforeseen(program, error)}", FAILED)


def complain(message: str) -> None:
    """Print a message as one line on standard error."""
    print(one_line(message), file=sys.stderr)


def one_line(message: str) -> str:
    """A message without line ends and without what a terminal would obey."""
    text = terminal_text(" ".join(message.split()))
    return text if len(text) <= _LONGEST_MESSAGE else f"{text[:_LONGEST_MESSAGE]}..."


def _say(program: str, message: str, code: int) -> int:
    complain(f"{program}: {message}")
    return code


def _unforeseen(program: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno in _NO_SPACE:
        place = f" (while {error.filename} was written)" if error.filename else ""
        return f"{error.strerror}{place}: make room and run again to go on; what is done is kept."
    if isinstance(error, MemoryError):
        return f"not enough memory ({first_line(error)}); ask for less at once."
    what = f"{type(error).__name__}: {first_line(error)}"
    return f"unexpected {what[:300]}. Please report this with {_logged(program, error)}."


def _logged(program: str, error: Exception) -> str:
    """Where the traceback is, in words."""
    lines = [f"{program} on Python {platform.python_version()}, {platform.platform()}\n"]
    lines += traceback.format_exception(error)
    try:
        descriptor, path = tempfile.mkstemp(prefix=f"{program}-", suffix=".log")
        with os.fdopen(descriptor, "w", encoding="utf-8", errors="backslashreplace") as file:
            file.writelines(lines)
    except OSError as problem:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        return (
            f"this line, no log could be written ({problem.strerror}): {frame.name}:{frame.lineno}"
        )
    return f"the log {path}"


def _is_text(argument: str) -> bool:
    try:
        argument.encode()
    except UnicodeEncodeError:
        return False
    return True
