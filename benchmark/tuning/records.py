"""What is recorded of a trial, from its proposal to its end."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, NonNegativeInt, field_validator, model_validator

from benchmark.files import fingerprint
from benchmark.objectives import Measured
from benchmark.results.key import config_document
from benchmark.results.records import Record, Text
from sparse_attention.config import AttentionConfig

RUNNING: Final = "running"
COMPLETE: Final = "complete"
PRUNED: Final = "pruned"
"""The scheduler stopped it; a trial that is complete saw all samples."""
TrialStatus = Literal["running", "complete", "pruned", "failed", "timed_out", "stopped"]
Point = dict[str, Any]
"""Values by the names of a search space's parameters."""
Losses = Annotated[list[float], Field(min_length=1)]


def config_hash(config: AttentionConfig) -> str:
    """Hex hash of a configuration, 16 digits."""
    return fingerprint(config_document(config))[:16]


class _WithLosses(Record):
    losses: Losses


class OnTask(Measured, _WithLosses):
    """What was measured of a trial on one task."""


class Rung(_WithLosses):
    """A rung that a trial reached; its losses are means over the tasks."""

    mean: Measured
    """Over the tasks."""
    tasks: dict[str, OnTask]


class TrialRecord(Record):
    """One trial."""

    model_config = ConfigDict(frozen=False)

    number: NonNegativeInt
    point: Point
    config: dict[str, Any]
    """The configuration as JSON."""
    status: TrialStatus
    reason: Text
    """Why it failed."""
    rungs: list[Rung]

    @field_validator("config")
    @classmethod
    def _is_configuration(cls, value: dict[str, Any]) -> dict[str, Any]:
        AttentionConfig.from_json(value)
        return value

    @model_validator(mode="after")
    def _has_seen_something(self) -> Self:
        if self.status in (COMPLETE, PRUNED) and not self.rungs:
            raise ValueError(f"{self.status} without a rung")
        return self

    @cached_property
    def id(self) -> str:
        """Hash of the configuration."""
        return config_hash(self.attention)

    @cached_property
    def attention(self) -> AttentionConfig:
        """The configuration."""
        return AttentionConfig.from_json(self.config)

    @property
    def losses(self) -> tuple[float, ...] | None:
        """At the last rung; None if the trial failed."""
        failed = self.status not in (RUNNING, COMPLETE, PRUNED)
        return None if failed or not self.rungs else tuple(self.rungs[-1].losses)


def ended_trial(document: object) -> TrialRecord:
    """A line of the journal, which keeps what has ended and need not be tried again."""
    record = TrialRecord.from_json(document)
    if record.status in (RUNNING, "stopped"):
        raise ValueError(f"a trial that is {record.status}")
    return record
