"""A tracker that is told of results while they come, from the files that a run writes."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmark.report.frames.scan import scan_cells
from benchmark.results.finished import METRICS
from benchmark.results.journal import sound_records
from benchmark.trackers.runs import TrackedRun, cell_runs, trial_run
from benchmark.trackers.track import tell
from benchmark.tuning.records import ended_trial

logger = logging.getLogger(__name__)

_PAUSE = 10.0
"""Seconds between two looks at the files."""


@contextmanager
def following(results: Path, cache: Path, name: str, pause: float = _PAUSE) -> Iterator[None]:
    """Within the block, tell a tracker of cells and trials that end, soon after they do.

    What it cannot be told is logged once; the run goes on, and its end is told all the same.

    Args:
        results: the results folder, which need not be there yet.
        cache: of searches.
        name: of the tracker; ``check_tracker`` has passed it.
        pause: seconds between two looks.
    """
    end = threading.Event()
    thread = threading.Thread(target=_follow, args=(_News(results, cache), name, pause, end))
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def _follow(news: _News, name: str, pause: float, end: threading.Event) -> None:
    try:
        has_ended = False
        while not has_ended:
            has_ended = end.wait(pause)
            tell(name, news.results, news.collect())
    except Exception as error:
        logger.warning("%s is not told while the run goes on: %s", name, error)


class _News:
    """What ended since the last look."""

    def __init__(self, results: Path, cache: Path) -> None:
        self.results = results
        self._cache = cache
        self._start = time.time_ns()
        self._told: set[str] = set()
        """Trials, and cells with the time of their metrics."""

    def collect(self) -> list[TrackedRun]:
        """Runs that were not collected before."""
        return [*self._cells(), *self._trials()]

    def _cells(self) -> Iterator[TrackedRun]:
        fresh = []
        for path in self.results.glob(f"*/*/*/*/{METRICS}"):
            changed = path.stat().st_mtime_ns
            if changed >= self._start and self._is_new(f"{path} {changed}"):
                fresh.append(path.parent)
        yield from cell_runs(scan_cells(self.results, fresh))

    def _trials(self) -> Iterator[TrackedRun]:
        for path in self._cache.glob("trials/*.jsonl"):
            if path.stat().st_mtime_ns >= self._start:
                records, _ = sound_records(path, ended_trial, path.name)
                for record in records.values():
                    run = trial_run(path.stem, record.to_json())
                    if self._is_new(run.id):
                        yield run

    def _is_new(self, mark: str) -> bool:
        is_new = mark not in self._told
        self._told.add(mark)
        return is_new
