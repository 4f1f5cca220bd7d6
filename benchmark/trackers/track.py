"""The results of a run as runs of a tracker."""

from __future__ import annotations

from collections.abc import Collection
from importlib import import_module
from pathlib import Path

from benchmark.report.frames.scan import scan_results
from benchmark.trackers.runs import tracked_runs

FOLDER = "tracking"
"""In a results folder."""


def track_results(results: Path, cells: Collection[Path], cache: Path, name: str) -> Path:
    """Tell a tracker of the finished cells among these, and of the searches behind them.

    Args:
        results: the results folder.
        cells: folders in it.
        cache: of searches.
        name: of the tracker; ``check_tracker`` has passed it.

    Returns:
        The folder with what the tracker wrote.
    """
    scan = scan_results(results)
    wanted = {cell.resolve() for cell in cells}
    scan.cells = [cell for cell in scan.cells if cell.path.resolve() in wanted]
    folder = scan.root / FOLDER / name
    folder.mkdir(parents=True, exist_ok=True)
    import_module(f"benchmark.trackers.{name}").write(tracked_runs(scan, cache), folder)
    return folder
