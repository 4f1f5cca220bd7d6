"""The results of a run as runs of a tracker."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from importlib import import_module
from pathlib import Path

from benchmark.report.frames.scan import scan_cells
from benchmark.trackers.runs import TrackedRun, tracked_runs

FOLDER = "tracking"
"""In a results folder."""


def track_results(results: Path, cells: Collection[Path], cache: Path, name: str) -> Path:
    """Tell a tracker of these cells, as far as they are finished, and the searches behind them.

    Args:
        results: the results folder.
        cells: folders in it.
        cache: of searches.
        name: of the tracker; ``check_tracker`` has passed it.

    Returns:
        The folder with what the tracker wrote.
    """
    return tell(name, results, tracked_runs(scan_cells(results, cells), cache))


def tell(name: str, results: Path, runs: Sequence[TrackedRun]) -> Path:
    """Write runs for a tracker, in the place of earlier ones of the same results; its folder."""
    folder = results / FOLDER / name
    if runs:
        folder.mkdir(parents=True, exist_ok=True)
        import_module(f"benchmark.trackers.{name}").write(runs, folder)
    return folder
