"""Which trials of a search stop before they have seen all samples, and which of these go on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from benchmark.tuning.records import COMPLETE, PRUNED, RUNNING, TrialRecord
from benchmark.tuning.settings import OptimizationConfig
from benchmark.tuning.splits import rung_levels
from benchmark.tuning.trial import LOSS, OK, STATUS, STOP


class Halving:
    """Asynchronous successive halving (Li et al. 2020), with second chances.

    A trial goes on from a rung if its loss is among the best ``1 / reduction_factor`` of all that
    were reported there so far.
    """

    def __init__(self, settings: OptimizationConfig, samples: int) -> None:
        """For trials that see ``samples`` contexts of a task at the end."""
        self._settings = settings
        self.rungs = 1
        if settings.stops_early:
            self.rungs = rung_levels(samples, settings.smallest_rung, settings.reduction_factor)
        self._reported: defaultdict[int, list[float]] = defaultdict(list)
        """Losses by rung."""
        self._resumed: set[int] = set()
        """Numbers of trials that had their second chance."""

    def replay(self, record: TrialRecord) -> None:
        """Take over a trial that ended earlier."""
        for rung, reached in enumerate(record.rungs):
            self._reported[rung].append(reached.losses[0])

    def judge(self, rung: int, reached: Sequence[tuple[TrialRecord, dict[str, Any]]]) -> None:
        """Tell trials that have reached ``rung`` together, by their reports, to stop or not."""
        if rung + 1 >= self.rungs:
            return
        reports = [
            report
            for record, report in reached
            if report[STATUS] == OK and record.number not in self._resumed
        ]
        earlier = self._reported[rung]
        earlier += [report[LOSS] for report in reports]
        for report in reports:
            better = sum(loss < report[LOSS] for loss in earlier)
            report[STOP] = better >= max(1, len(earlier) / self._settings.reduction_factor)

    def second_chance(
        self,
        trials: Iterable[TrialRecord],
        is_feasible: Callable[[TrialRecord], bool],
        settles: Callable[[TrialRecord], bool],
    ) -> TrialRecord | None:
        """The best trial that was stopped and may win all the same; None while others run.

        Under a constraint those that did better at first may keep it on few samples only: then one
        that reads more wins, and has to see all samples, until one that keeps it ``settles`` it.
        """
        settings, limit, stopped = self._settings, 1.0, []
        if not settings.gives_second_chances:
            return None
        for record in trials:
            if record.status == RUNNING:
                return None
            if record.status in (COMPLETE, PRUNED) and is_feasible(record):
                loss = record.rungs[-1].losses[0]
                if record.status == COMPLETE:
                    limit = min(limit, loss) if settles(record) else limit
                elif record.number not in self._resumed:
                    stopped.append((loss, record.number, record))
        best = min(stopped, default=None)
        return best[-1] if best is not None and best[0] < limit else None

    def resume(self, record: TrialRecord) -> None:
        """Let a trial go on to the end."""
        self._resumed.add(record.number)
        record.status = RUNNING
