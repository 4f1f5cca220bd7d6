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

from sparse_attention.printable import terminal_text

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
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                _Rate(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=STDERR,
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, name: str, samples: int) -> JobProgress:
        """A job of so many samples begins."""
        return JobProgress(name, samples, self._bar)


class JobProgress:
    """How far one job is: a row of the bar, or log lines where there is none."""

    def __init__(self, name: str, samples: int, bar: Progress | None) -> None:
        self._name, self._bar = terminal_text(name), bar
        self._start = time.monotonic()
        self._row: TaskID | None = None
        if bar is not None:
            self._row = bar.add_task(self._name, total=samples)
        else:
            logger.info("%s: %d samples", name, samples)

    def advance(self, samples: int) -> None:
        """Samples are done under all configurations."""
        if self._bar is not None and self._row is not None:
            self._bar.advance(self._row, samples)

    def finish(self) -> None:
        """The job is done."""
        if self._bar is None:
            logger.info("%s: done after %.1f s", self._name, time.monotonic() - self._start)
