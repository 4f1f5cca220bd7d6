"""A search whose trials follow each other in this process: of what is not about Ray Tune."""

from __future__ import annotations

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
                    study.halve(rung, [report])
                    if report.get(STOP):
                        break
                study.finish(record, report[STATUS], report.get(REASON, ""))
                self._progress.advance(study, record)
