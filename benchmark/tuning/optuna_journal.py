"""The trials of a search as Optuna's own tools read them, such as optuna-dashboard."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
from optuna.trial import FrozenTrial, TrialState

from benchmark.generic_config_optimizer import GenericConfigOptimizer, SearchRange
from benchmark.tuning.records import COMPLETE, PRUNED, TrialRecord

logger = logging.getLogger(__name__)

SUFFIX = ".optuna.log"
"""Of the file beside the journal of a search."""


class OptunaJournal:
    """A copy of the trials that have ended, in the format of Optuna's ``JournalFileBackend``.

    It is written and never read: what counts is the sealed journal of the study.  Where it cannot
    be written the search goes on without it.
    """

    def __init__(
        self,
        path: Path,
        space: GenericConfigOptimizer,
        dimensions: int,
        trials: Sequence[TrialRecord],
    ) -> None:
        """Begin a new file with the trials that are known.

        Args:
            path: of the file; another one in its place is replaced.
            space: in which points are.
            dimensions: number of losses that are minimised.
            trials: that have ended.
        """
        self._path, self._dimensions = path, dimensions
        self._study: optuna.Study | None = None
        self._domains = {p.name: _distribution(p.domain) for p in space.search_space}
        self._broken = False
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error)
        for record in trials:
            self.add(record)

    def add(self, record: TrialRecord) -> None:
        """Append a trial that has ended."""
        if self._broken:
            return
        try:
            self._opened().add_trial(self._trial(record))
        except OSError as error:
            self._give_up(error)

    def _opened(self) -> optuna.Study:
        if self._study is None:
            file = str(self._path)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                storage = JournalStorage(JournalFileBackend(file, _Alone(file)))
            self._study = optuna.create_study(
                storage=storage,
                study_name=self._path.name.removesuffix(SUFFIX),
                directions=["minimize"] * self._dimensions,
            )
        return self._study

    def _trial(self, record: TrialRecord) -> FrozenTrial:
        point = {key: self._written(key, value) for key, value in record.point.items()}
        state = {COMPLETE: TrialState.COMPLETE, PRUNED: TrialState.PRUNED}
        mean = record.rungs[-1].mean.to_json() if record.rungs else {}
        ended = state.get(record.status, TrialState.FAIL)
        by_rung = record.rungs if self._dimensions == 1 else []
        return optuna.trial.create_trial(
            state=ended,
            values=list(record.losses or ()) if ended == TrialState.COMPLETE else None,
            params=point,
            distributions={key: self._domains[key] for key in point},
            intermediate_values={rung.mean.samples: rung.losses[0] for rung in by_rung},
            user_attrs={
                "trial": record.number,
                "configuration": record.attention.describe(),
                "status": record.status,
                **({"reason": record.reason} if record.reason else {}),
                **mean,
            },
        )

    def _written(self, name: str, value: Any) -> Any:
        is_range = not isinstance(self._domains[name], CategoricalDistribution)
        return value if is_range else json.dumps(value)

    def _give_up(self, error: OSError) -> None:
        self._broken = True
        logger.warning("%s cannot be written (%s): no trials for Optuna's tools", self._path, error)


class _Alone(JournalFileOpenLock):
    """No lock: a search has its folder alone, and Optuna's outlives a process that is killed."""

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass


def _distribution(domain: Any) -> BaseDistribution:
    if not isinstance(domain, SearchRange):
        # As text, because Optuna takes 1, 1.0 and True for the same choice.
        return CategoricalDistribution(list(map(json.dumps, domain)))
    if isinstance(domain.low, int) and isinstance(domain.high, int):
        return IntDistribution(domain.low, domain.high, log=domain.log)
    return FloatDistribution(domain.low, domain.high, log=domain.log)
