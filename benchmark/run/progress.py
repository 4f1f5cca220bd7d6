"""How far a matrix run is: a bar per job on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import time
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

logger = logging.getLogger(__name__)

STDERR = Console(stderr=True)
"""Shared by the bars and by log lines, which else would tear each other apart."""


class _Rate(ProgressColumn):
    """Samples per second, under all configurations at once."""

    def render(self, task: Task) -> Text:
        """The rate, empty before the first sample."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.2f} samples/s")


class MatrixProgress:
    """Progress by job, used as a context manager."""

    def __init__(self, quiet: bool) -> None:
        self._bar: Progress | None = None
        if STDERR.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=STDERR,
            )
        self._bar_ids: dict[int, TaskID] = {}
        self._starts: dict[int, tuple[str, float]] = {}

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, job: int, name: str, samples: int) -> None:
        """Show a bar for a job; say that it begins where there is no terminal."""
        self._starts[job] = name, time.monotonic()
        if self._bar is not None:
            self._bar_ids[job] = self._bar.add_task(name, total=samples)
        else:
            logger.info("%s: %d samples", name, samples)

    def advance(self, job: int, samples: int) -> None:
        """Samples of a job are done under all its configurations."""
        if self._bar is not None:
            self._bar.advance(self._bar_ids[job], samples)

    def finish(self, job: int) -> None:
        """A job is done; nothing is said of one that had nothing to do."""
        if job not in self._starts:
            return
        name, start = self._starts.pop(job)
        if self._bar is None:
            logger.info("%s: done after %.1f s", name, time.monotonic() - start)
