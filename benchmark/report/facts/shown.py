"""Values as they stand in a page: short numbers, and texts that only show."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from sparse_attention.printable import terminal_text

LONGEST_NAME = 120
"""Characters of a name that are shown."""


def number(value: Any) -> float | None:
    """A number to 6 significant digits; None for what is missing."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.6g}")


def name(text: str) -> str:
    """A name in one line, cut where it is long."""
    shown = terminal_text(text[: 2 * LONGEST_NAME]).strip()
    return shown if len(shown) <= LONGEST_NAME else f"{shown[: LONGEST_NAME - 3]}..."


def passage(text: str, longest: int) -> str:
    """A text with its line ends; of a long one the beginning, and how long it is."""
    lines = "\n".join(map(terminal_text, text[:longest].split("\n")))
    return lines if len(text) <= longest else f"{lines} [... {len(text):,} characters in all]"


def interval(row: Mapping[str, Any], column: str) -> list[float | None] | None:
    """Mean, low and high of an estimate in a frame of cells; None where there is none."""
    if number(row[column]) is None:
        return None
    return [number(row[column + end]) for end in ("", "_low", "_high")]
