"""Tables of a group of results, for a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from rich.console import Console

from benchmark.objectives import saves_little
from benchmark.report.escapes import markdown_text
from benchmark.report.groups import Group, Interval, Row
from benchmark.report.text_table import NONE, TextTable, print_table
from benchmark.results.statistics import LEVEL
from sparse_attention.printable import terminal_text

_MOST_COLUMNS = 8
"""Subsets beside each other; with their intervals, more would not fit a terminal."""
ERROR_WARNING = (
    "attention error: it does not rank methods; its rank correlation with the score over 17 "
    "configurations on SmolLM2-135M was -.12."
)


def summary_table(group: Group) -> TextTable:
    """Quality and cost of each configuration, mean over the subsets.

    Scores on held-out samples stand there if something was tuned, kept memory if a press freed
    some, and decode times if configurations did not share batches, which tells nothing of each.
    """
    rows = list(group.rows.values())
    count = len(group.subsets)
    scope = group.subsets[0] if count == 1 else f"mean of {count} subsets"
    samples = max(row.total_count("samples") for row in rows)
    columns: dict[str, Callable[[Row], str]] = {
        "config": lambda row: row.label,
        "score": lambda row: _score(group, row),
        "difference to dense": lambda row: _difference(group, row, held_out=False),
    }
    if any(row.tuned for row in rows):
        columns["held-out score"] = lambda row: _interval(
            row.mean_estimate("score", group.subsets, held_out=True)
        )
        columns["held-out difference"] = lambda row: _difference(group, row, held_out=True)
    columns["density"] = lambda row: _mean(group, row, "density", ".3f")
    columns["bytes"] = lambda row: _mean(group, row, "bytes_read", ".3f")
    if any((row.mean("kept_share", group.subsets) or 1.0) < 1 for row in rows):
        columns["kept memory"] = lambda row: _mean(group, row, "kept_share", ".3f")
    columns["attention error"] = lambda row: _mean(group, row, "attention_error", ".3g")
    if _batch_size(group) == 1:
        columns["decode s"] = lambda row: f"{row.total_cost('decode_seconds'):.1f}"
    return TextTable(
        f"{group.title}: {scope}, {samples} samples ({group.setting})",
        tuple(columns),
        tuple(tuple(cell(row) for cell in columns.values()) for row in rows),
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
    title = f"{group.title}: score by subset ({group.setting})"
    return TextTable(title, table[0], tuple(table[1:]))


def budget_table(group: Group) -> TextTable:
    """What each configuration was measured to read, mean over the subsets."""
    columns = ("config", "keys, by query head", "by key-value head", "to choose", "bytes")
    return TextTable(
        f"{group.title}: what is read, as shares of dense attention ({group.setting})",
        columns,
        tuple(_budget_row(group, row) for row in group.rows.values()),
    )


def notes(group: Group) -> Iterator[str]:
    """What a reader must know beside the numbers."""
    yield (
        f"[low, high]: {LEVEL:.0%} confidence interval, contexts as the independent units; "
        "differences are paired by sample."
    )
    yield "bytes: read of keys and values, and to choose them, relative to dense attention."
    if any(row.mean("attention_error", row.metrics) for row in group.rows.values()):
        yield ERROR_WARNING
    if any(row.tuned for row in group.rows.values()):
        yield "held-out: only the samples that the settings were not tuned on."
    for row in group.rows.values():
        yield from _what_it_is(row)
        yield from _what_it_reads(row)
    for row in group.rows.values():
        for name in ("truncated", "skipped", "failed", "missing"):
            if number := row.total_count(name):
                yield f"{row.label}: {number} of {row.total_count('samples')} samples {name}."
    cells = [metrics for row in group.rows.values() for metrics in row.metrics.values()]
    yield from dict.fromkeys(remark for cell in cells for remark in cell.remarks)


def _what_it_is(row: Row) -> Iterator[str]:
    if row.tuned:
        yield f"{row.label}: {row.description}."
    found = dict.fromkeys(row.settings.values())
    if len(found) > 1:
        yield from (f"{row.label} on {name}: {what}." for name, what in row.settings.items())
    elif list(found) != [row.label]:
        yield f"{row.label}: {next(iter(found))}."


def _what_it_reads(row: Row) -> Iterator[str]:
    """Where it saves little or nothing."""
    density, read = (row.mean(name, row.metrics) for name in ("density", "bytes_read"))
    if not row.is_dense:
        # A density that was asked for needs no word.
        for remark in saves_little(density if row.tuned else None, read):
            yield f"{row.label} {remark}."


def print_group(group: Group, console: Console) -> None:
    """Print the tables and notes of a group."""
    tables = [summary_table(group)]
    if len(group.subsets) > 1:
        tables.append(subset_table(group))
    for table in tables:
        print_table(table, console)
    for note in notes(group):
        console.print(terminal_text(note), style="dim", markup=False, highlight=False)


def markdown(text: TextTable) -> str:
    """The table in GitHub's Markdown, without its title."""
    head, *rows = [[markdown_text(cell) for cell in line] for line in (text.columns, *text.rows)]
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _score(group: Group, row: Row) -> str:
    if len(row.metrics) < len(group.subsets):
        return f"only {len(row.metrics)} subsets"
    return _interval(row.mean_estimate("score", group.subsets))


def _difference(group: Group, row: Row, *, held_out: bool) -> str:
    if row.is_dense:
        return NONE
    found = row.mean_estimate("dense_difference", group.subsets, held_out=held_out)
    return _interval(found, signed=True)


def _mean(group: Group, row: Row, name: str, form: str) -> str:
    mean = row.mean(name, group.subsets)
    return NONE if mean is None else format(mean, form)


def _batch_size(group: Group) -> int:
    """Most configurations that were decoded together."""
    cells = (cell for row in group.rows.values() for cell in row.metrics.values())
    return max(cell.costs.rows for cell in cells)


def _budget_row(group: Group, row: Row) -> tuple[str, ...]:
    names = ("density", "union_density", "selection_share", "bytes_read")
    return row.label, *(_mean(group, row, name, ".3f") for name in names)


def _interval(estimate: Interval | None, *, signed: bool = False) -> str:
    if estimate is None:
        return NONE
    sign = "+" if signed else ""
    # Adding 0 makes a rounded negative zero positive.
    mean, low, high = (round(value, 3) + 0.0 for value in estimate)
    return f"{mean:{sign}.3f} [{low:{sign}.2f}, {high:{sign}.2f}]"
