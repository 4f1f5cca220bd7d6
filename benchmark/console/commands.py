"""What the commands that make results do; each returns the exit code."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from itertools import chain
from pathlib import Path

from benchmark.console.logs import is_quiet
from benchmark.console.reports import show_groups
from benchmark.console.selection import MatrixSelection
from benchmark.executor import BenchmarkExecutor
from benchmark.optimizer.optimized_executor import create_optimized_benchmark_executor
from benchmark.report.facts.searches import CACHE
from benchmark.report.frames.scan import cell_folders, scan_cells
from benchmark.report.groups import group_results
from benchmark.run.forecast import Forecast
from benchmark.run.requests import PoolFactory
from benchmark.run.result import MatrixResult
from benchmark.tuning.settings import OptimizationConfig
from sparse_attention.printable import terminal_text
from sparse_attention.program import complain


def run(
    options: argparse.Namespace, selection: MatrixSelection, pool: PoolFactory | None = None
) -> int:
    """``sparse-bench run``; ``pool`` as for ``BenchmarkExecutor``."""
    executor = BenchmarkExecutor(
        vars(options).get("gpu_ids"),
        options.results_dir,
        vars(options).get("num_workers"),
        gpus_per_worker=vars(options).get("gpus_per_worker"),
        quiet=is_quiet(options.verbosity),
        pool=pool,
    )
    what = (
        *(selection.models, selection.configs, selection.benchmarks),
        *(selection.adapter, selection.requests),
    )
    if options.dry_run:
        return _show_forecast(executor.forecast(*what))
    return _tracked(
        options, Path(options.results_dir) / CACHE, lambda: executor.run_benchmark_matrix(*what)
    )


def _show_forecast(forecast: Forecast) -> int:
    print(f"{forecast}\n{forecast.summary()}")
    return 0


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
        gpus_per_worker=vars(options).get("gpus_per_worker"),
        quiet=is_quiet(options.verbosity),
        pool=pool,
    )
    what = (
        *(selection.models, selection.configs, selection.benchmarks),
        *(selection.adapter, selection.requests),
    )
    return _tracked(options, Path(search.cache_dir), lambda: executor.run_benchmark_matrix(*what))


def _tracked(options: argparse.Namespace, cache: Path, compute: Callable[[], MatrixResult]) -> int:
    """Compute and show results; a tracker, where one was asked for, hears of them as they come."""
    if "track" not in options:
        return show_result(compute())
    from benchmark.trackers.follow import following
    from benchmark.trackers.track import track_results

    with following(Path(options.results_dir), cache, options.track):
        result = compute()
    code = show_result(result)
    folder = track_results(result.results_dir, result.folders, cache, options.track)
    print(terminal_text(f"{options.track}: {folder}"))
    return code


def show_result(result: MatrixResult) -> int:
    """Print tables of a matrix and what is not complete; the exit code."""
    root = result.results_dir
    # The tables are of this run; the files beside the results have what earlier runs found too.
    folders = sorted({cell.parent.parent for cell in result.folders})
    scan = scan_cells(root, chain.from_iterable(cell_folders(root, folder) for folder in folders))
    show_groups(group_results(scan, result.folders).groups, group_results(scan))
    for cell in result.cells:
        if cell.status != "complete":
            place = f"{cell.model} {cell.benchmark}/{cell.subset} {cell.config}"
            complain(f"{cell.status}: {place}: {cell.message}")
    return result.exit_code
