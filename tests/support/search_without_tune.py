"""A search whose trials follow each other in this process: of what is not about Ray Tune."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from benchmark.tuning.search import Search
from benchmark.tuning.trial import REASON, STATUS, STOP


class WithoutTune(Search):
    """Stands in for ``Search``."""

    def run(self) -> None:
        for study in self._studies:
            while (record := study.propose()) is not None:
                for rung in range(study.rungs):
                    self.evaluate(study.wants(record, rung))
                    report = study.report(record, rung)
                    study.halving.judge(rung, [(record, report)])
                    if report.get(STOP):
                        break
                study.finish(record, report[STATUS], report.get(REASON, ""))
                self._progress.advance(study, record)


@contextmanager
def without_tune() -> Iterator[None]:
    """Searches inside need no Ray."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("benchmark.tuning.search.Search", WithoutTune)
        patch.setattr("benchmark.hyperparameter_optimization.start_ray", lambda: None)
        yield
