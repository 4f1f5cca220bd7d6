"""Text from outside as it may be shown: names, messages and answers may hold anything."""

from __future__ import annotations

import unicodedata

MAX_LABEL = 200
"""Characters; a longer label fits no table."""


LABELS = f"a label is printable text of 1 to {MAX_LABEL} characters without spaces around it"
"""What ``is_label`` asks for, in words."""


def terminal_text(text: str) -> str:
    """``text`` with escapes for all that a terminal obeys or does not show.

    These are control characters with line ends, marks of direction, invisible characters and
    halves of characters.  Other spaces become plain ones.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def _escaped(char: str) -> str:
    return " " if unicodedata.category(char) == "Zs" else ascii(char)[1:-1]


def is_label(value: object) -> bool:
    """Whether a name can stand everywhere as it is: short printable text, not blank."""
    return (
        isinstance(value, str)
        and value.strip() == value != ""
        and value.isprintable()
        and len(value) <= MAX_LABEL
    )
