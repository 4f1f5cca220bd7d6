"""Commands that show results, ``report`` and ``show``; they load neither Ray nor models."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmark.report.facts.searches import CACHE
from benchmark.report.frames.scan import scan_results
from benchmark.report.groups import Group, Results, group_results
from benchmark.report.page.build import PAGE, write_page
from benchmark.report.sample import print_answers, read_answers
from benchmark.report.tables import print_group
from benchmark.report.text_table import table_console
from benchmark.report.write import write_report
from benchmark.results.key import FORMAT
from sparse_attention.errors import UserError
from sparse_attention.printable import terminal_text
from sparse_attention.program import complain
from sparse_attention.reading import user_folder, user_path


def report(options: argparse.Namespace) -> int:
    """``sparse-bench report``; exit code 1 if something is damaged and left out."""
    scan = scan_results(options.results_dir)
    shown = found = group_results(scan)
    if not user_path(options.results_dir, "results folder").samefile(scan.root):
        found = group_results(scan_results(scan.root))  # the files beside the results have all
    if not scan.cells:
        others = "; ".join(f"{one.cell}: {one.reason}" for one in scan.left_out[:3])
        raise UserError(
            f"no results in {options.results_dir} that this version can show"
            f"{f' ({others})' if others else ''}."
        )
    show_groups(shown.groups, found)
    given = vars(options)
    page = user_path(given.get("output", scan.root / PAGE), "report")
    caches = [Path(given.get("cache_dir", scan.root / CACHE))]
    write_page(scan, caches, page)
    _say(f"report: {page}")
    formats = Counter(one.format for one in found.left_out if one.format is not None)
    for number, count in sorted(formats.items()):
        complain(
            f"left out of the tables: {count} results of format {number}; this version shows "
            f"format {FORMAT}, the same run computes them again beside"
        )
    return int(bool(found.damaged))


def show(options: argparse.Namespace) -> int:
    """``sparse-bench show``."""
    answers = read_answers(user_folder(options.folder, "folder of answers"), options.sample)
    print_answers(answers, table_console())
    return 0


def _say(line: str) -> None:
    """Print a line that may hold names from outside."""
    print(terminal_text(line))


def show_groups(groups: Sequence[Group], files: Results) -> None:
    """Print the tables of groups, and write the reports."""
    console = table_console()
    for group in groups:
        print_group(group, console)
    for path in write_report(files):
        _say(f"report: {path}")
    for found in files.damaged:
        complain(f"left out: {found.cell}: {found.reason}")
