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
_HELD_OUT = ("held-out score", "held-out difference")
_MOST_COLUMNS = 8


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
    tuned = any(row.tuned for row in group.rows.values())
    columns = (
        "config",
        "score",
        "difference to dense",
        *(_HELD_OUT if tuned else ()),
        "density",
        "kept memory",
        "attention error",
        "decode s",
    )
    return TextTable(
        f"{group.title}: {scope}, {samples} samples",
        columns,
        tuple(_summary_row(group, row, tuned) for row in group.rows.values()),
    )


def subset_table(group: Group) -> TextTable:
    """Score of each configuration on each subset; many subsets stand below each other."""
    lines = [
        (row.label, *(_interval(row.estimate("score", name)) for name in group.subsets))
        for row in group.rows.values()
    ]
    table = [("config", *group.subsets), *lines]
    if len(group.subsets) > _MOST_COLUMNS:
        table = list(zip(*[("subset", *group.subsets), *lines], strict=True))
    return TextTable(f"{group.title}: score by subset", table[0], tuple(table[1:]))


def budget_table(group: Group) -> TextTable:
    """What each configuration was measured to read, mean over the subsets."""
    columns = ("config", "keys, by query head", "by key-value head", "to choose", "bytes")
    return TextTable(
        f"{group.title}: what is read, as shares of dense attention",
        columns,
        tuple(_budget_row(group, row) for row in group.rows.values()),
    )


def notes(group: Group) -> Iterator[str]:
    """What a reader must know beside the numbers."""
    yield (
        f"[low, high]: {LEVEL:.0%} confidence interval, contexts as the independent units; "
        "differences are paired by sample."
    )
    if any(row.tuned for row in group.rows.values()):
        yield "held-out: only the samples that the settings were not tuned on."
    for row in group.rows.values():
        if row.description != row.label:
            yield f"{row.label}: {row.description}."
        if len(set(row.tuned.values())) > 1:
            yield from (f"{row.label} on {name}: {what}." for name, what in row.tuned.items())
        elif row.tuned:
            yield f"{row.label}: {next(iter(row.tuned.values()))}."
    for row in group.rows.values():
        for name in ("truncated", "skipped", "failed", "missing"):
            if number := row.total_count(name):
                yield f"{row.label}: {number} of {row.total_count('samples')} samples {name}."
    cells = [metrics for row in group.rows.values() for metrics in row.metrics.values()]
    yield from dict.fromkeys(remark for cell in cells for remark in cell.get("remarks", ()))
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
            numbers = (Text(cell.replace(" [", "\n["), no_wrap=True) for cell in row[1:])
            table.add_row(Text(row[0]), *numbers)
        console.print(table)
    for note in notes(group):
        console.print(note, style="dim", markup=False, highlight=False)


def markdown(text: TextTable) -> str:
    """The table in GitHub's Markdown, without its title."""
    lines = [text.columns, ("---", *("---:" for _ in text.columns[1:])), *text.rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines
    )


def _summary_row(group: Group, row: Row, tuned: bool) -> tuple[str, ...]:
    density = row.mean("density", group.subsets)
    kept = row.mean("kept_share", group.subsets)
    error = row.mean("attention_error", group.subsets)
    score = row.mean_estimate("score", group.subsets)
    incomplete = len(row.metrics) < len(group.subsets)
    difference = row.mean_estimate("dense_difference", group.subsets)
    unseen = (
        _interval(row.mean_estimate("score", group.subsets, held_out=True)),
        _interval(row.mean_estimate("dense_difference", group.subsets, held_out=True), signed=True),
    )
    return (
        row.label,
        f"only {len(row.metrics)} subsets" if incomplete else _interval(score),
        NONE if row.is_dense else _interval(difference, signed=True),
        *(unseen if tuned else ()),
        NONE if density is None else f"{density:.3f}",
        NONE if kept is None else f"{kept:.3f}",
        NONE if error is None else f"{error:.3g}",
        f"{row.total_cost('decode_seconds'):.1f}",
    )


def _budget_row(group: Group, row: Row) -> tuple[str, ...]:
    names = ("density", "union_density", "selection_share")
    shares = [row.mean(name, group.subsets) for name in names]
    _, united, selecting = shares
    total = None if united is None or selecting is None else united + selecting
    return row.label, *(NONE if share is None else f"{share:.3f}" for share in (*shares, total))


def _interval(estimate: Interval | None, *, signed: bool = False) -> str:
    if estimate is None:
        return NONE
    sign = "+" if signed else ""
    # Adding 0 makes a rounded negative zero positive.
    mean, low, high = (round(value, 3) + 0.0 for value in estimate)
    return f"{mean:{sign}.3f} [{low:{sign}.2f}, {high:{sign}.2f}]"
