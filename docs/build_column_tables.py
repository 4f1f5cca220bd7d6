"""Write the tables of columns in ``docs/results.md``: ``python docs/build_column_tables.py``."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmark.report.frames.columns import CELL, PREDICTION  # noqa: E402

PAGE = ROOT / "docs" / "results.md"
_START, _END = "<!-- columns:", "<!-- end of columns -->"


def with_tables(page: str) -> str:
    """The page with the tables of this version."""
    head, _, rest = page.partition(_START)
    comment = rest.partition("\n")[0]
    tail = rest.partition(_END)[2]
    tables = "\n".join([_table("cells", CELL), _table("predictions", PREDICTION)])
    return f"{head}{_START}{comment}\n\n{tables}\n{_END}{tail}"


def _table(level: str, columns: Mapping[str, str]) -> str:
    lines = [f"Columns of {level}:\n", "| column | what it is |", "|---|---|"]
    return "\n".join([*lines, *(f"| `{name}` | {what} |" for name, what in columns.items()), ""])


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text()))
