"""Tables of what searches found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

from benchmark.report.spelled import spelled_out
from benchmark.report.text_table import NONE, TextTable, print_table
from benchmark.tuning.cache import CachedResult

_COLUMNS = (
    *("config type", "model", "objective", "trials", "task", "density", "bytes"),
    *("held-out score", "to dense", "settings, notes"),
)
_SETTINGS = _COLUMNS[-1]
_SHARED = range(1, 4)
"""Columns that go to the title where all searches agree in them."""


def search_table(results: Sequence[CachedResult]) -> TextTable:
    """A line for each result; for one over several tasks another for each of them."""
    lines = [line for result in results for line in _lines(result)]
    about = ["best settings"]
    for place in _SHARED:
        values = sorted({line[place] for line in lines} - {""})
        if len(values) == 1:
            about.append(f"{_COLUMNS[place]} {values[0]}")
            lines = [(*line[:place], "", *line[place + 1 :]) for line in lines]
    days = sorted({str(result.document["created"])[:10] for result in results})
    if days:
        about.append(f"found {' to '.join(dict.fromkeys((days[0], days[-1])))}")
    return TextTable(", ".join(about), _COLUMNS, tuple(lines), frozenset({_SETTINGS}))


def print_results(results: Sequence[CachedResult], console: Console) -> None:
    """Print what searches found: settings, what the search saw, what it did not."""
    print_table(search_table(results), console)
    console.print(
        "held-out score: on samples that the search did not see, with its 95% interval; "
        "to dense: paired difference on them; bytes: read, with choosing, relative to dense.",
        style="dim",
        highlight=False,
    )


def _lines(result: CachedResult) -> list[tuple[str, ...]]:
    names, best = result.names, result.best
    held_out: Mapping[str, Any] = best["held_out"]
    head = (
        names.config_type,
        names.model,
        str(result.key["objective"]["name"]),
        str(len(result.document["trials"])),
        names.task,
    )
    settings = spelled_out(best["config"], best["description"])
    said = "; ".join([settings, *(f"! {remark}" for remark in result.remarks)])
    if len(held_out) == 1:
        return [(*head, *_held_out(next(iter(held_out.values()))), said)]
    tuning = best["tuning"]
    lines: list[tuple[str, ...]] = [
        (*head, _number(tuning["density"]), _number(tuning.get("bytes_read")), "", "", said)
    ]
    for task, found in held_out.items():
        loss = result.document["tasks"][task]["loss_to_best"]
        note = f"loss {loss:+.3g} against the best for this task alone"
        lines.append((names.config_type, "", "", "", task, *_held_out(found), note))
    return lines


def _held_out(found: Mapping[str, Any] | None) -> tuple[str, ...]:
    if found is None or found["status"] != "complete":
        return NONE, NONE, "no samples" if found is None else found["reason"], NONE
    return (
        _number(found["density"]),
        _number(found.get("bytes_read")),
        _interval(found["score"]),
        _interval(found["dense_difference"]),
    )


def _number(value: float | None) -> str:
    return NONE if value is None else f"{value:.3f}"


def _interval(estimate: Mapping[str, Any] | None) -> str:
    if estimate is None:
        return NONE
    low, high = estimate["interval"]
    return f"{estimate['mean']:.3f} [{low:.2f}, {high:.2f}]"
