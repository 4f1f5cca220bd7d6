"""How far searches are: a bar per study on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Self

from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn

from benchmark.run.progress import Lines, TimeLeft, duration, new_bar
from benchmark.tuning.records import PRUNED, RUNNING, TrialRecord
from benchmark.tuning.study import Study
from sparse_attention.printable import terminal_text

logger = logging.getLogger(__name__)

_PAUSE = 0.5
"""Seconds between two counts of all answers."""


class TuningProgress:
    """Answers of trials and trials that have ended, by study; used as a context manager.

    How many answers there will be is an estimate until the last trial has ended: bad trials stop
    early, and settings may run out.
    """

    def __init__(self, studies: Sequence[Study], quiet: bool) -> None:
        self._mutex = threading.Lock()
        self._studies = studies
        self._bars: dict[str, TaskID] = {}
        name = TextColumn("{task.description}", markup=False)
        columns = (BarColumn(), MofNCompleteColumn(), TextColumn("answers"))
        self._bar = new_bar(quiet, name, *columns, TextColumn("{task.fields[said]}", markup=False))
        self._lines = Lines(wanted=self._bar is None and not quiet)
        self._left = TimeLeft()
        self._counted = 0.0
        self._reported: set[str] = set()
        if self._bar is not None:
            for study in studies:
                title = terminal_text(study.name)
                self._bars[study.name] = self._bar.add_task(title, total=None, said="")

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        for study in self._studies:
            self._draw(study)
            self._report(study)
        if self._bar is not None:
            self._bar.stop()

    def answered(self) -> None:
        """Some answers have come."""
        with self._mutex:
            if monotonic() - self._counted < _PAUSE:
                return
            self._counted = monotonic()
            self._left.counted(self._answers[0])
            for study in self._studies:
                self._draw(study)
            self._lines.say_if_due(self._how_far)

    def advance(self, study: Study, record: TrialRecord) -> None:
        """Count a trial that has ended, show the best loss, and say why it failed if it did."""
        with self._mutex:
            self._draw(study)
            if study.has_ended:
                self._report(study)
            if record.reason:
                logger.warning("%s, trial %d: %s", study.name, record.number, record.reason)

    def _report(self, study: Study) -> None:
        """Say once what came of a search."""
        if study.name in self._reported:
            return
        self._reported.add(study.name)
        stopped = sum(trial.status == PRUNED for trial in study.trials)
        early = f", {stopped} of them stopped early" if stopped else ""
        found = _best(study) or "none ended well"
        self._lines.say(f"{study.name}: {len(study.trials)} trials{early}, {found}")

    def _draw(self, study: Study) -> None:
        if self._bar is not None:
            answers, expected = study.answers
            said = ", ".join(filter(None, [_ended(study), _best(study)]))
            self._bar.update(self._bars[study.name], completed=answers, total=expected, said=said)

    @property
    def _answers(self) -> tuple[int, int]:
        """As of a study, of all together."""
        counts = [study.answers for study in self._studies]
        answers, expected = (sum(column) for column in zip(*counts, strict=True))
        return answers, expected

    def _how_far(self) -> str:
        answers, expected = self._answers
        each = self._left.each(answers)
        left = "" if each is None else f", about {duration(each * (expected - answers))} left"
        ended = "; ".join(f"{study.name} {_ended(study)}" for study in self._studies)
        return f"searching: {answers} of about {expected} answers{left} ({ended})"


def _ended(study: Study) -> str:
    ended = sum(trial.status != RUNNING for trial in study.trials)
    if study.has_ended:
        return f"{ended} trials"
    return f"{ended} of {study.settings.num_samples} trials"


def _best(study: Study) -> str:
    best = study.winner()
    return "" if best is None else f"best loss {best.rungs[-1].losses[0]:.4g}"
