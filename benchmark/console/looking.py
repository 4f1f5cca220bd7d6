"""Commands that look at results: ``plot``, ``compare``, ``watch`` and ``ls results``."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.text import Text

from benchmark.exports.formats import export_results
from benchmark.report.facts.compare import Comparison, Comparisons, compare_results
from benchmark.report.facts.groups import group_facts
from benchmark.report.facts.running import search_states, task_states
from benchmark.report.facts.searches import CACHE
from benchmark.report.figures.write import write_figures
from benchmark.report.frames.load import LEFT_OUT, cell_frame
from benchmark.report.frames.scan import results_root, scan_results
from benchmark.report.text_table import NONE, TextTable, print_table, table_console
from benchmark.run.progress import duration
from sparse_attention.printable import terminal_text
from sparse_attention.program import complain
from sparse_attention.reading import user_folder

_LABELS = frozenset({"left", "right"})
_BAR = 24
"""Characters of a bar."""


def plot(options: argparse.Namespace) -> int:
    """``sparse-bench plot``."""
    scan = scan_results(options.results_dir)
    target = user_folder(vars(options).get("output", scan.root / "figures"), "folder of figures")
    caches = [Path(vars(options).get("cache_dir", scan.root / CACHE))]
    for path in write_figures(scan, caches, target, options.format):
        print(terminal_text(str(path)))
    return _complain_of_left_out([str(found.cell) for found in scan.left_out])


def compare(options: argparse.Namespace) -> int:
    """``sparse-bench compare``."""
    given = vars(options)
    left = scan_results(options.left)
    right = scan_results(given["right"]) if "right" in given else left
    configs = tuple(given["configs"]) if "configs" in given else None
    _print_comparisons(compare_results(left, right, configs))
    return _complain_of_left_out([str(one.cell) for side in (left, right) for one in side.left_out])


def watch(options: argparse.Namespace) -> int:
    """``sparse-bench watch``: until it is interrupted, or once."""
    root = results_root(user_folder(options.results_dir, "results folder").resolve())
    caches = [Path(vars(options).get("cache_dir", root / CACHE))]
    console = table_console()
    if options.once or not console.is_terminal:
        console.print(_state(root, caches))
        return 0
    with Live(console=console, auto_refresh=False) as live:
        while True:
            live.update(_state(root, caches), refresh=True)
            time.sleep(options.interval)


def list_results(folder: str) -> int:
    """``sparse-bench ls results``."""
    scan = scan_results(folder)
    cells = cell_frame(scan)
    keys = {str(cell.path): cell.key for cell in scan.cells}
    rows = []
    for group in group_facts(cells, keys):
        own = cells[cells["group"] == group.id]
        finished = int((own["status"] != "unfinished").sum())
        newest = max(Path(cell).stat().st_mtime for cell in own["folder"])
        rows.append(
            (
                group.title,
                str(len(group.subsets)),
                str(len(group.configurations)),
                f"{finished} of {len(own)}",
                f"{int(own['answered'].sum())} of {int(own['samples'].sum())}",
                ", ".join(sorted({f"{number}" for number in own["format"]})),
                time.strftime("%Y-%m-%d %H:%M", time.localtime(newest)),
            )
        )
    columns = ("results", "tasks", "configs", "cells finished", "answers", "format", "newest")
    print_table(TextTable(str(scan.root), columns, tuple(rows)), table_console())
    searches = search_states([scan.root / CACHE])
    if searches:
        print(f"{len(searches)} searches, with {sum(one.ended for one in searches)} trials")
    return _complain_of_left_out(cells.attrs[LEFT_OUT])


def _complain_of_left_out(sentences: list[str]) -> int:
    """Say what was left out; the exit code."""
    for sentence in dict.fromkeys(sentences):
        complain(f"left out: {sentence}")
    return int(bool(sentences))


def _print_comparisons(found: Comparisons) -> None:
    console = table_console()
    columns = ("task", "left", "right", "score left", "score right", "right - left", "paired", "")
    rows = tuple(_comparison_row(pair) for pair in found.pairs)
    print_table(
        TextTable("Right against left", columns, rows, frozenset({"left", "right"})), console
    )
    costs = ("task", "left", "right", "density", "bytes read", "kept memory", "attention error")
    rows = tuple(_cost_row(pair) for pair in found.pairs)
    print_table(
        TextTable("Costs, left > right", costs, rows, frozenset({"left", "right"})), console
    )
    for line in dict.fromkeys(line for pair in found.pairs for line in _setting_lines(pair)):
        print(terminal_text(line))
    for side, names in (("left", found.only_left), ("right", found.only_right)):
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            print(terminal_text(f"only {side}: {'; '.join(names[:5])}{more}"))


def _setting_lines(pair: Comparison) -> Iterator[str]:
    for side, row in (("left", pair.left), ("right", pair.right)):
        yield f"{side}: {row['config']}: {row['description']}"
    yield f"settings, left > right: {pair.settings or 'the same but for the configuration'}"


def _comparison_row(pair: Comparison) -> tuple[str, ...]:
    difference = pair.difference
    if difference is None:
        values = (NONE, "no shared samples", "")
    else:
        limits = f"[{difference.low:+.2f}, {difference.high:+.2f}]"
        verdict = "significant" if pair.significant else "not significant"
        values = (f"{difference.mean:+.3f} {limits}", f"{difference.samples} samples", verdict)
    return (*_names(pair), _score(pair.left), _score(pair.right), *values)


def _cost_row(pair: Comparison) -> tuple[str, ...]:
    names = ("density", "bytes_read", "kept_share", "attention_error")
    return (*_names(pair), *(f"{_number(pair.left[n])} > {_number(pair.right[n])}" for n in names))


def _names(pair: Comparison) -> tuple[str, ...]:
    labels = [
        f"{one['config']}, {one['tuning']}" if one["tuning"] else one["config"]
        for one in (pair.left, pair.right)
    ]
    return (f"{pair.left['benchmark']}/{pair.left['subset']}", *labels)


def _score(row: Mapping[str, Any]) -> str:
    if row["score"] != row["score"]:
        return NONE
    return f"{row['score']:.3f} [{row['score_low']:.2f}, {row['score_high']:.2f}]"


def _number(value: float) -> str:
    return NONE if value != value else f"{value:.3f}"


def _state(root: Path, caches: list[Path]) -> Group:
    return Group(*(Text(terminal_text(line)) for line in _state_lines(root, caches)))


def _state_lines(root: Path, caches: list[Path]) -> Iterator[str]:
    now = time.time()
    tasks, searches = task_states(root), search_states(caches)
    yield f"{root}, {time.strftime('%H:%M:%S')}"
    names = [task.name for task in tasks] + [search.name for search in searches]
    width = max(map(len, names), default=0)
    for task in tasks:
        share = task.answered / task.samples if task.samples else 0.0
        bar = "#" * round(_BAR * share)
        yield (
            f"{task.name:{width}} |{bar:{_BAR}}| {task.answered} of {task.samples} answers, "
            f"{task.finished} of {task.cells} cells finished, {_ago(now, task.changed)}"
        )
    for search in searches:
        counts = ", ".join(f"{number} {status}" for status, number in search.statuses.items())
        best = f"; best: {search.best}" if search.best else ""
        yield (
            f"{search.name:{width}} {search.ended} trials ended ({counts}){best}, "
            f"{_ago(now, search.changed)}"
        )
    if not tasks and not searches:
        yield "nothing is there yet"


def _ago(now: float, changed: float) -> str:
    return f"last change {duration(max(0.0, now - changed))} ago" if changed else "nothing yet"


def export(options: argparse.Namespace) -> int:
    """``sparse-bench export``; exit code 1 if something is damaged and left out."""
    written, left_out = export_results(options.results_dir, options.to, vars(options).get("output"))
    for path in written:
        print(terminal_text(f"{options.to}: {path}"))
    for one in left_out:
        complain(f"left out: {one.cell}: {one.reason}")
    return int(any(one.reason.startswith("damaged") for one in left_out))
