"""What the commands that read or make results do; each returns the exit code."""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence

from benchmark.console.logs import is_quiet
from benchmark.console.selection import MatrixSelection
from benchmark.executor import BenchmarkExecutor
from benchmark.optimizer.optimized_executor import create_optimized_benchmark_executor
from benchmark.report.groups import Group, Results, read_results
from benchmark.report.sample import print_answers, read_answers
from benchmark.report.tables import print_group
from benchmark.report.text_table import table_console
from benchmark.report.write import write_report
from benchmark.results.key import FORMAT
from benchmark.run.requests import PoolFactory
from benchmark.run.result import MatrixResult
from benchmark.tuning.settings import OptimizationConfig
from sparse_attention.errors import UserError
from sparse_attention.printable import terminal_text
from sparse_attention.program import complain
from sparse_attention.reading import user_folder


def run(
    options: argparse.Namespace, selection: MatrixSelection, pool: PoolFactory | None = None
) -> int:
    """``sparse-bench run``; ``pool`` as for ``BenchmarkExecutor``."""
    executor = BenchmarkExecutor(
        vars(options).get("gpu_ids"),
        options.results_dir,
        vars(options).get("num_workers"),
        quiet=is_quiet(options.verbosity),
        pool=pool,
    )
    result = executor.run_benchmark_matrix(
        selection.models,
        selection.configs,
        selection.benchmarks,
        selection.adapter,
        selection.requests,
    )
    return show_result(result)


def tune(
    options: argparse.Namespace,
    selection: MatrixSelection,
    search: OptimizationConfig,
    pool: PoolFactory | None = None,
) -> int:
    """``sparse-bench tune``; ``pool`` as for ``BenchmarkExecutor``."""
    executor = create_optimized_benchmark_executor(
        vars(options).get("gpu_ids"),
        search,
        results_dir=options.results_dir,
        num_workers=vars(options).get("num_workers"),
        quiet=is_quiet(options.verbosity),
        pool=pool,
    )
    result = executor.run_benchmark_matrix(
        selection.models,
        selection.configs,
        selection.benchmarks,
        selection.adapter,
        selection.requests,
    )
    return show_result(result)


def show_result(result: MatrixResult) -> int:
    """Print tables of a matrix and what is not complete; the exit code."""
    cells = [cell.folder for cell in result.cells]
    # The tables are of this run; the files beside the results have what earlier runs found too.
    folders = sorted({cell.parent.parent for cell in cells})
    found = read_results(
        result.results_dir, [cell for folder in folders for cell in sorted(folder.glob("*/*"))]
    )
    _show(read_results(result.results_dir, cells).groups, found)
    for cell in result.cells:
        if cell.status != "complete":
            place = f"{cell.model} {cell.benchmark}/{cell.subset} {cell.config}"
            complain(f"{cell.status}: {place}: {cell.message}")
    return result.exit_code


def report(options: argparse.Namespace) -> int:
    """``sparse-bench report``; exit code 1 if something is damaged and left out."""
    found = read_results(user_folder(options.results_dir, "results folder"))
    if not found.groups:
        others = "; ".join(f"{one.cell}: {one.reason}" for one in found.left_out[:3])
        raise UserError(
            f"no finished results in {options.results_dir} that this version can show"
            f"{f' ({others})' if others else ''}."
        )
    _show(found.groups, found)
    formats = Counter(one.format for one in found.left_out if one.format is not None)
    for number, count in sorted(formats.items()):
        complain(
            f"left out: {count} results of format {number}; this version shows format {FORMAT}, "
            "the same run computes them again beside"
        )
    return int(bool(found.damaged))


def show(options: argparse.Namespace) -> int:
    """``sparse-bench show``."""
    answers = read_answers(user_folder(options.folder, "folder of answers"), options.sample)
    print_answers(answers, table_console())
    return 0


def _show(groups: Sequence[Group], files: Results) -> None:
    """Print the tables of groups, and write the reports."""
    console = table_console()
    for group in groups:
        print_group(group, console)
    for path in write_report(files):
        text = terminal_text(f"report: {path}")
        console.print(text, markup=False, highlight=False, soft_wrap=True)
    for found in files.damaged:
        complain(f"left out: {found.cell}: {found.reason}")
