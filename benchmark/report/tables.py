"""Tables of a group of results, for a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.report.groups import Group, Interval, Row
from benchmark.statistics import LEVEL

NONE = "-"


@dataclass(frozen=True)
class TextTable:
    """A table of text; the first column is left-aligned, the others right."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def summary_table(group: Group) -> TextTable:
    """Quality and cost of each configuration, mean over the subsets."""
    count = len(group.subsets)
    scope = group.subsets[0] if count == 1 else f"mean of {count} subsets"
    samples = max(row.total_count("samples") for row in group.rows.values())
    columns = (
        "config",
        "score",
        "difference to dense",
        "density",
        "kept memory",
        "attention error",
        "decode s",
    )
    return TextTable(
        f"{group.title}: {scope}, {samples} samples",
        columns,
        tuple(_summary_row(group, row) for row in group.rows.values()),
    )


def subset_table(group: Group) -> TextTable:
    """Score of each configuration on each subset."""
    return TextTable(
        f"{group.title}: score by subset",
        ("config", *group.subsets),
        tuple(
            (row.label, *(_interval(row.estimate("score", name)) for name in group.subsets))
            for row in group.rows.values()
        ),
    )


def notes(group: Group) -> Iterator[str]:
    """What a reader must know beside the numbers."""
    yield (
        f"[low, high]: {LEVEL:.0%} confidence interval, contexts as the independent units; "
        "differences are paired by sample."
    )
    for row in group.rows.values():
        if row.description != row.label:
            yield f"{row.label}: {row.description}."
    for row in group.rows.values():
        for name in ("truncated", "skipped", "failed", "missing"):
            if number := row.total_count(name):
                yield f"{row.label}: {number} of {row.total_count('samples')} samples {name}."
    cells = [metrics for row in group.rows.values() for metrics in row.metrics.values()]
    rows = max(cell["costs"]["rows"] for cell in cells)
    if rows > 1:
        yield (
            f"decode s: a configuration's equal share of batches of up to {rows} configurations, "
            "measurement of the attention error included; not a comparison of their speeds."
        )


def print_group(group: Group, console: Console) -> None:
    """Print the tables and notes of a group."""
    tables = [summary_table(group)]
    if len(group.subsets) > 1:
        tables.append(subset_table(group))
    for text in tables:
        console.print(f"\n{text.title}", style="bold", markup=False, highlight=False)
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
        for number, column in enumerate(text.columns):
            table.add_column(column, justify="right" if number else "left")
        for row in text.rows:
            # The interval goes below its number and stays whole, so that many columns fit.
            table.add_row(*(Text(cell.replace(" [", "\n["), no_wrap=True) for cell in row))
        console.print(table)
    for note in notes(group):
        console.print(note, style="dim", markup=False, highlight=False)


def markdown(text: TextTable) -> str:
    """The table in GitHub's Markdown, without its title."""
    lines = [text.columns, ("---", *("---:" for _ in text.columns[1:])), *text.rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _summary_row(group: Group, row: Row) -> tuple[str, ...]:
    density = row.mean("density", group.subsets)
    kept = row.mean("kept_share", group.subsets)
    error = row.mean("attention_error", group.subsets)
    score = row.mean_estimate("score", group.subsets)
    incomplete = len(row.metrics) < len(group.subsets)
    difference = row.mean_estimate("dense_difference", group.subsets)
    return (
        row.label,
        f"only {len(row.metrics)} subsets" if incomplete else _interval(score),
        NONE if row.is_dense else _interval(difference, signed=True),
        NONE if density is None else f"{density:.3f}",
        NONE if kept is None else f"{kept:.3f}",
        NONE if error is None else f"{error:.3g}",
        f"{row.total_cost('decode_seconds'):.1f}",
    )


def _interval(estimate: Interval | None, *, signed: bool = False) -> str:
    if estimate is None:
        return NONE
    sign = "+" if signed else ""
    # Adding 0 makes a rounded negative zero positive.
    mean, low, high = (round(value, 3) + 0.0 for value in estimate)
    return f"{mean:{sign}.3f} [{low:{sign}.2f}, {high:{sign}.2f}]"
