"""Python literals in LooGLE's data and in predictions, read without running anything."""

from __future__ import annotations

import ast
import warnings
from typing import Any

LONGEST = 1_000_000
"""Characters of a text that is looked at; the questions about a document take some 10 thousand."""


def literal(text: str) -> Any:
    """The value of a literal; ``ValueError`` if the text is none or longer than ``LONGEST``.

    Unlike with ``eval``, which upstream uses, names, calls and operators are no literals.
    """
    if len(text) > LONGEST:
        raise ValueError(f"the text has {len(text)} characters, more than {LONGEST}")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about escapes in strings
            return ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError) as error:
        raise ValueError(f"the text is no Python literal ({type(error).__name__})") from error
