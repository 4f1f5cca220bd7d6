"""How far a matrix run is: a bar per job on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from time import monotonic, strftime
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
_SHORTEST_PAUSE = 10.0
"""Seconds between two lines, at least."""
_PAUSE_SHARE = 0.05
"""Of the time since the start, which later pauses take: a day then has about a hundred lines."""


def new_bar(quiet: bool, *columns: ProgressColumn) -> Progress | None:
    """A bar; None where lines are better: in a file, and in a notebook, which cannot redraw one."""
    if quiet or STDERR.is_jupyter or not STDERR.is_terminal:
        return None
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=STDERR)


class Lines:
    """Lines about progress, where there is no bar."""

    def __init__(self, wanted: bool) -> None:
        self._wanted = wanted
        self._start = self._last = monotonic()

    @property
    def seconds(self) -> float:
        """Since the start."""
        return monotonic() - self._start

    def say(self, line: str) -> None:
        """Log a line; print it where nobody has asked for the log, as in a notebook."""
        if not self._wanted:
            return
        line, self._last = terminal_text(line), monotonic()
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s", line)
        else:
            with suppress(OSError):  # a reader that has gone, without whom the work goes on
                print(f"{strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)

    def say_if_due(self, line: Callable[[], str]) -> None:
        """``say`` it unless the last line is too fresh."""
        if monotonic() - self._last >= max(_SHORTEST_PAUSE, _PAUSE_SHARE * self.seconds):
            self.say(line())


def duration(seconds: float) -> str:
    """A time in the unit that suits it: ``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class TimeLeft:
    """An estimate from the second count on: until the first, models are loaded."""

    def __init__(self) -> None:
        self._first: tuple[float, float] | None = None

    def counted(self, done: float) -> None:
        """So much is done by now."""
        self._first = self._first or (monotonic(), done)

    def each(self, done: float) -> float | None:
        """Seconds for one of them; None if that is not known yet."""
        if self._first is None or done <= self._first[1]:
            return None
        return (monotonic() - self._first[0]) / (done - self._first[1])


class _Rate(ProgressColumn):
    """Samples per second, under all configurations at once."""

    def render(self, task: Task) -> Text:
        """The rate, empty before the first sample."""
        speed = task.finished_speed or task.speed
        return Text("" if speed is None else f"{speed:.2f} samples/s")


class MatrixProgress:
    """Progress by job, used as a context manager."""

    def __init__(self, quiet: bool) -> None:
        name = TextColumn("{task.description}", markup=False)
        self._bar = new_bar(quiet, name, BarColumn(), MofNCompleteColumn(), _Rate())
        self._quiet = quiet

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def start(self, name: str, samples: int) -> JobProgress:
        """A job of so many samples begins."""
        return JobProgress(name, samples, self._bar, self._quiet)


class JobProgress:
    """How far one job is: a row of the bar, or lines where there is none."""

    def __init__(self, name: str, samples: int, bar: Progress | None, quiet: bool) -> None:
        self._name, self._samples, self._bar = name, samples, bar
        self._done = 0
        self._row: TaskID | None = None
        self._left = TimeLeft()
        self._lines = Lines(wanted=bar is None and not quiet)
        if bar is not None:
            self._row = bar.add_task(terminal_text(name), total=samples)
        self._lines.say(f"{name}: {samples} samples")

    def advance(self, samples: int) -> None:
        """Samples are done under all configurations."""
        self._done += samples
        self._left.counted(self._done)
        if self._bar is not None and self._row is not None:
            self._bar.advance(self._row, samples)
        self._lines.say_if_due(self._how_far)

    def _how_far(self) -> str:
        each, far = self._left.each(self._done), f"{self._done} of {self._samples} samples"
        if each is None:
            return f"{self._name}: {far}"
        left = duration(each * (self._samples - self._done))
        return f"{self._name}: {far}, {1 / each:.2f} samples/s, about {left} left"

    def finish(self) -> None:
        """The job is done."""
        self._lines.say(f"{self._name}: done after {duration(self._lines.seconds)}")
