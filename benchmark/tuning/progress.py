"""How far searches are: a bar per study on a terminal, log lines elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Self

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from benchmark.run.progress import STDERR
from benchmark.tuning.records import TrialRecord
from benchmark.tuning.study import Study
from sparse_attention.printable import terminal_text

logger = logging.getLogger(__name__)


class TuningProgress:
    """Trials that have ended, by study; used as a context manager."""

    def __init__(self, studies: Sequence[Study], quiet: bool) -> None:
        self._mutex = threading.Lock()
        self._bar: Progress | None = None
        self._bars: dict[str, TaskID] = {}
        if STDERR.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("trials"),
                TextColumn("{task.fields[best]}"),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=STDERR,
            )
            for study in studies:
                self._bars[study.name] = self._bar.add_task(
                    terminal_text(study.name),
                    total=study.settings.num_samples,
                    completed=len(study.trials),
                    best="",
                )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, study: Study, record: TrialRecord) -> None:
        """Count a trial that has ended, show the best loss, and say why it failed if it did."""
        with self._mutex:
            best = study.winner()
            text = "" if best is None else f"best loss {best.rungs[-1].losses[0]:.4g}"
            if self._bar is not None:
                self._bar.update(self._bars[study.name], advance=1, best=text)
            elif study.has_ended:
                logger.info("%s: %d trials, %s", study.name, len(study.trials), text)
            if record.reason:
                logger.warning("%s, trial %d: %s", study.name, record.number, record.reason)
