"""How far searches are: a bar per study on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn

from benchmark.run.progress import Lines, new_bar
from benchmark.tuning.records import RUNNING, TrialRecord
from benchmark.tuning.study import Study
from sparse_attention.printable import terminal_text

logger = logging.getLogger(__name__)


class TuningProgress:
    """Trials that have ended, by study; used as a context manager."""

    def __init__(self, studies: Sequence[Study], quiet: bool) -> None:
        self._mutex = threading.Lock()
        self._bars: dict[str, TaskID] = {}
        name = TextColumn("{task.description}", markup=False)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("trials"))
        self._bar = new_bar(quiet, name, *columns, TextColumn("{task.fields[best]}"))
        self._lines = Lines(wanted=self._bar is None and not quiet)
        if self._bar is not None:
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
                self._lines.say(
                    f"{study.name}: {len(study.trials)} trials, {text or 'none ended well'}"
                )
            else:
                self._lines.say_if_due(lambda: _how_far(study, text))
            if record.reason:
                logger.warning("%s, trial %d: %s", study.name, record.number, record.reason)


def _how_far(study: Study, best: str) -> str:
    ended = sum(trial.status != RUNNING for trial in study.trials)
    trials = f"{ended} of {study.settings.num_samples} trials"
    return ", ".join([f"{study.name}: {trials}", *([best] if best else [])])
