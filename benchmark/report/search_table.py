"""Tables of what searches found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchmark.tuning.cache import CachedResult
from sparse_attention.printable import terminal_text

NONE = "-"


def print_results(results: Sequence[CachedResult], console: Console) -> None:
    """Print one line for each result and task: settings, what the search saw, what it did not."""
    if not console.is_terminal:
        console.width = 160
    several = len({result.names.model for result in results}) > 1
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    columns = ["config type", "task", "objective", "trials", "density", "held-out score"]
    for column in [*(["model"] if several else []), *columns, "to dense", "settings"]:
        table.add_column(column)
    for result in results:
        for line in _lines(result):
            cells = [*([result.names.model] if several else []), *line]
            table.add_row(*(Text(terminal_text(cell)) for cell in cells))
    console.print(table)
    console.print(
        "held-out score: on samples that the search did not see, with its 95% interval; "
        "to dense: paired difference on them.",
        style="dim",
        highlight=False,
    )


def _lines(result: CachedResult) -> list[list[str]]:
    """A line for the search; for one over several tasks another for each of them."""
    names, best = result.names, result.best
    held_out: Mapping[str, Any] = best["held_out"]
    head = [
        names.config_type,
        names.task,
        str(result.key["objective"]["name"]),
        str(len(result.document["trials"])),
    ]
    notes = [["", "", "", "", "", "", "", f"! {remark}"] for remark in result.remarks]
    if len(held_out) == 1:
        found = _held_out(next(iter(held_out.values())))
        return [[*head, *found, best["description"]], *notes]
    lines = [[*head, f"{best['tuning']['density']:.3f}", "", "", best["description"]], *notes]
    for task, found in held_out.items():
        loss = result.document["tasks"][task]["loss_to_best"]
        note = f"loss {loss:+.3g} against the best for this task alone"
        lines.append(["", f"  {task}", "", "", *_held_out(found), note])
    return lines


def _held_out(found: Mapping[str, Any] | None) -> list[str]:
    if found is None or found["status"] != "complete":
        return [NONE, "no samples" if found is None else found["reason"], NONE]
    return [
        f"{found['density']:.3f}",
        _interval(found["score"]),
        _interval(found["dense_difference"]),
    ]


def _interval(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None:
        return NONE
    low, high = estimate["interval"]
    return f"{estimate['mean']:.3f} [{low:.2f}, {high:.2f}]"
