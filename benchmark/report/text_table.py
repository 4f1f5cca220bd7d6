"""Tables of text that fit a terminal without cutting a number or a name."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from rich import box
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from sparse_attention.printable import terminal_text

NONE = "-"
_EMPTY = ("", NONE)
_WITHOUT_TERMINAL = 120
"""Characters of a line in a file."""
_ENDLESS = 10**6
_PROSE = 24
"""Characters that a column of words is given at least, where it has as many."""


@dataclass(frozen=True)
class TextTable:
    """A table of text; the first column names its rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: frozenset[str] = frozenset()
    """Columns of words, which may go on in a further line; they are left-aligned."""

    def without_empty(self) -> TextTable:
        """Without the columns in which nothing stands."""
        kept = [
            place
            for place in range(len(self.columns))
            if place == 0 or any(row[place] not in _EMPTY for row in self.rows)
        ]
        return TextTable(
            self.title,
            _pick(self.columns, kept),
            tuple(_pick(row, kept) for row in self.rows),
            self.words,
        )


def table_console() -> Console:
    """Where tables are printed: as wide as the terminal, or as ``COLUMNS`` says."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _WITHOUT_TERMINAL
    return console


def print_table(table: TextTable, console: Console) -> None:
    """Print a table; where it is too wide, each of its rows as a block of lines."""
    table = table.without_empty()
    if table.title:
        title = terminal_text(table.title)
        console.print(f"\n{title}", style="bold", markup=False, highlight=False)
    grid = _grid(table)
    if _least_width(grid, console) <= console.width:
        console.print(grid)
    else:
        _print_blocks(table, console)


def _least_width(grid: Table, console: Console) -> int:
    # Measured by itself, because within a console nothing is said to be wider than that.
    return Measurement.get(console, console.options.update(width=_ENDLESS), grid).minimum


def _pick(line: Sequence[str], places: Sequence[int]) -> tuple[str, ...]:
    return tuple(line[place] for place in places)


def _grid(table: TextTable) -> Table:
    grid = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    columns = []
    for place, name in enumerate(table.columns):
        cells = [terminal_text(row[place]) for row in table.rows]
        name = terminal_text(name)
        if table.columns[place] in table.words:
            longest = max((len(word) for cell in cells for word in cell.split()), default=0)
            whole = max(map(len, cells), default=0)
            width = max(longest, len(name), min(whole, _PROSE))
            grid.add_column(Text(name), min_width=width, overflow="fold")
        else:
            # An interval goes below its number, and a heading is no wider than what is below it.
            cells = [cell.replace(" [", "\n[") for cell in cells]
            lines = [line for cell in cells for line in cell.split("\n")]
            width = max(map(len, [*lines, *name.split()]))
            heading = Text("\n".join(textwrap.wrap(name, width)))
            side: Literal["left", "right"] = "right" if place else "left"
            grid.add_column(heading, justify=side, min_width=width, no_wrap=True)
        columns.append(cells)
    for row in zip(*columns, strict=True):
        grid.add_row(*map(Text, row))
    return grid


def _print_blocks(table: TextTable, console: Console) -> None:
    for row in table.rows:
        name, *values = map(terminal_text, row)
        block = Table.grid(padding=(0, 2))
        block.add_column(no_wrap=True)
        block.add_column(overflow="fold")
        for column, value in zip(table.columns[1:], values, strict=True):
            if value not in _EMPTY:
                block.add_row(Text(f"  {terminal_text(column)}"), Text(value))
        console.print(Text(f"\n{name}" if name else "", overflow="fold"))
        console.print(block)
    console.print()
