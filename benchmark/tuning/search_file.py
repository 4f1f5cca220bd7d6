"""The file of a finished search: all of its fields, checked when it is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Literal, Self

from pydantic import NonNegativeFloat, NonNegativeInt, model_validator

from benchmark.files import fingerprint, safe_name
from benchmark.objectives import Measured
from benchmark.results.metrics_file import EstimateRecord
from benchmark.results.records import PartOfRecord, Record, Share, Text
from benchmark.tuning.records import Losses, OnTask, Point, TrialRecord

FORMAT: Final = 2
"""Version of the layout of these files."""
GLOBAL = "global"
"""Stands for the task in names of searches over all tasks together."""


class Names(Record):
    """What people and files call a search; its key decides whether it is the one asked for."""

    model: Text
    config_type: Text
    benchmark: Text | None
    """None: all tasks together."""
    subset: Text | None

    @property
    def task(self) -> str:
        """``benchmark_subset``, or ``global``."""
        return GLOBAL if self.benchmark is None else f"{self.benchmark}_{self.subset}"

    @property
    def stem(self) -> str:
        """Name of the file without its ending."""
        model = self.model.rstrip("/")
        return "_".join(safe_name(part) for part in (model, self.config_type, self.task))


def journal_stem(names: Names, key: Mapping[str, Any]) -> str:
    """Name, without its ending, of the file with the trials of a search and of longer ones."""
    return f"{names.stem}-{fingerprint({**key, 'num_samples': None})[:8]}"


class Judged(Record):
    """What the winner was on samples that the search did not see."""

    status: Literal["complete"]
    score: EstimateRecord | None
    dense_difference: EstimateRecord | None
    density: Share
    bytes_read: NonNegativeFloat | None = None
    attention_error: NonNegativeFloat | None


class NotJudged(Record):
    """Why the winner has no score on them."""

    status: Literal["failed"]
    reason: Text


HeldOut = Judged | NotJudged | None
"""None: no samples were held out."""


class Best(Record):
    """The winner."""

    config: dict[str, Any]
    description: Text
    point: Point
    trial: NonNegativeInt
    """Its number."""
    loss: Losses
    feasible: bool
    remarks: list[Text]
    tuning: Measured
    """On what the search saw."""
    held_out: dict[str, HeldOut]
    """By task."""


class OnOneTask(Record):
    """The winner on one task, beside the trial that is best there."""

    tuning: OnTask
    best_trial: NonNegativeInt
    loss_to_best: float
    held_out: HeldOut


class _Objective(PartOfRecord):
    name: Text


class _TaskKey(PartOfRecord):
    format: int
    tuning_ids: list[Text]


class _Key(PartOfRecord):
    """The part of a key that is read by name; the whole is only compared."""

    objective: _Objective
    tasks: dict[str, _TaskKey]


class SearchFile(Record):
    """The whole document, but for its checksum."""

    format: Literal[2]
    names: Names
    created: Text
    best: Best
    tasks: dict[str, OnOneTask]
    pareto: list[NonNegativeInt]
    """Numbers of the trials that no other beats in one of score and density and equals in both."""
    trials: list[TrialRecord]
    key: _Key

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        trials = {trial.number: trial for trial in self.trials}
        winner = trials.get(self.best.trial)
        if winner is None or winner.config != self.best.config:
            raise ValueError(f"the winner is not trial {self.best.trial}")
        if not all(number in trials and trials[number].rungs for number in self.pareto):
            raise ValueError("the front has trials that were not measured")
        if not winner.rungs or set(self.best.held_out) != set(self.tasks) != set():
            raise ValueError("the winner was not measured on all tasks")
        if not set(self.tasks) <= set(self.key.tasks):
            raise ValueError("tasks that are not in the key")
        return self
