"""Errors that a user can cause and mend, and the message for a name that does not exist."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Bad input: the message says what was wrong, what is valid and what to do.

    Command-line programs print it without a traceback and exit with code 2.
    """


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
