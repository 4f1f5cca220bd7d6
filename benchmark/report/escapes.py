"""Names and descriptions in Markdown and in pictures, where their characters may mean something."""

from __future__ import annotations

import re
from functools import cache

from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font

from sparse_attention.printable import terminal_text

_MARKS = re.compile(
    # What begins markup anywhere, underscores only where they are not inside a word, ...
    r"[\\`*<>&|~$@]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])"
    # ... what makes links of brackets, and of addresses, ...
    r"|\](?=[(\[:])|:(?=//)|(?<=\bwww)\."
    # ... and what begins a block.
    r"|^(?:#|\[|[+-](?=\s))",
    re.IGNORECASE,
)
_NUMBERED = re.compile(r"^(\d+)(?=[.)]\s)")
_LONGEST = 60
"""Characters of a text in a picture."""


def markdown_text(text: str) -> str:
    """A text as GitHub's Markdown shows it letter by letter, in a paragraph, list or table."""
    escaped = _MARKS.sub(lambda found: f"\\{found[0]}", terminal_text(text).strip())
    return _NUMBERED.sub(r"\1\\", escaped)


def picture_text(text: str) -> str:
    """A text as matplotlib draws it, without formulas and within what its font can draw."""
    shown = terminal_text(text).strip()
    if len(shown) > _LONGEST:
        shown = f"{shown[: _LONGEST - 3]}..."
    shown = "".join(char if _can_draw(char) else ascii(char)[1:-1] for char in shown)
    if shown.startswith("_"):  # such a label is left out of a legend
        shown = f" {shown}"
    return shown.replace("$", r"\$")


@cache
def _can_draw(char: str) -> bool:
    return _font().get_char_index(ord(char)) != 0


@cache
def _font() -> FT2Font:
    return FT2Font(findfont(FontProperties()))
