"""What the commands that read or make results do; each returns the exit code."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from benchmark.console.logs import is_quiet
from benchmark.console.selection import MatrixSelection
from benchmark.executor import BenchmarkExecutor
from benchmark.optimizer.optimized_executor import create_optimized_benchmark_executor
from benchmark.report.groups import Group, read_groups
from benchmark.report.tables import print_group
from benchmark.report.write import write_report
from benchmark.run.matrix import MatrixResult
from benchmark.run.requests import PoolFactory
from benchmark.tuning.settings import OptimizationConfig
from sparse_attention.errors import UserError
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
    _show(read_groups(result.results_dir, [cell.folder for cell in result.cells]))
    for cell in result.cells:
        if cell.status != "complete":
            place = f"{cell.model} {cell.benchmark}/{cell.subset} {cell.config}"
            print(f"{cell.status}: {place}: {cell.message}", file=sys.stderr)
    return result.exit_code


def report(options: argparse.Namespace) -> int:
    """``sparse-bench report``."""
    groups = read_groups(user_folder(options.results_dir, "results folder"))
    if not groups:
        raise UserError(f"no finished results in {options.results_dir}.")
    _show(groups)
    return 0


def _show(groups: Sequence[Group]) -> None:
    console = Console()
    if not console.is_terminal:
        console.width = 120
    for group in groups:
        print_group(group, console)
    for path in write_report(groups):
        console.print(f"report: {path}", highlight=False, soft_wrap=True)
