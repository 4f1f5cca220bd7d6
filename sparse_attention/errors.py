"""Errors that a user can cause and mend, and the message for a name that does not exist."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable

from pydantic import ValidationError


class UserError(ValueError):
    """Bad input: the message says what was wrong, what is valid and what to do.

    Command-line programs print it without a traceback and exit with code 2.
    """


class NotFinite(ArithmeticError):
    """The model computed NaN or infinity, of which no answer can be made."""


def unknown_name(kind: str, name: object, valid: Iterable[str]) -> UserError:
    """Error for an unknown ``name`` of a ``kind``, with the nearest match and all valid names."""
    names = sorted(valid)
    return UserError(
        f"unknown {kind} {str(name)!r}.{nearest(name, names)} Valid: {', '.join(names) or 'none'}."
    )


def nearest(name: object, valid: Iterable[str]) -> str:
    """`` Did you mean ...?`` with the valid name that is most like ``name``; empty if none is."""
    matches = difflib.get_close_matches(str(name), valid, n=1, cutoff=0.5)
    return f" Did you mean {matches[0]!r}?" if matches else ""


def explain(error: ValidationError) -> str:
    """All problems of a validation error in one line."""
    problems = []
    for problem in error.errors():
        field = ".".join(str(part) for part in problem["loc"]) or "settings"
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "literal_error":
            valid = re.findall(r"'([^']*)'", problem["ctx"]["expected"])
            message += f".{nearest(problem['input'], valid)}".rstrip(".")
        problems.append(f"{field} = {problem['input']!r:.80}: {message}")
    return "; ".join(problems)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the name of its class where it has none."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__
