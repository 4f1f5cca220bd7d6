"""What is recorded of one sample under one configuration."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal, Self

Status = Literal["ok", "truncated", "skipped", "failed"]
Reason = Literal["out_of_memory", "worker_died", "error", "not_finite", "prompt_too_long", ""]

STATUSES: tuple[Status, ...] = ("ok", "truncated", "skipped", "failed")
ANSWERED: tuple[Status, ...] = ("ok", "truncated")
"""Statuses of samples that count into the score."""


@dataclass(frozen=True)
class Prediction:
    """The answer to one sample, or why there is none.  The same in every run: it has no times."""

    id: str
    task: str
    context: str
    """Hash of the context; samples with the same one depend on each other."""
    status: Status
    """``truncated``: answered, but a part of the prompt was cut."""
    reason: Reason = ""
    detail: str = ""
    """For a failed or skipped sample, the cause for people."""
    predicted_answer: str | None = None
    answer_tokens: int = 0
    finish_reason: Literal["stop", "length"] | None = None
    density: float | None = None
    """Keys read / keys visible, 6 significant digits."""
    attention_error: float | None = None
    """Relative squared error against dense attention, 6 significant digits."""
    kept_share: float | None = None
    """Bytes of keys and values held at the end / those that dense attention holds, 6 significant
    digits."""
    union_density: float | None = None
    """The density by key-value head: a key counts once for all query heads that read it."""
    selection_share: float | None = None
    """Bytes read to choose keys / bytes of all keys and values."""
    prompt_tokens: int = 0
    removed_tokens: int = 0
    score: float | None = None
    """Score in [0, 1]; filled in when the cell is finished."""

    @property
    def answered(self) -> bool:
        """Whether there is an answer to score."""
        return self.status in ANSWERED

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read back what ``to_json`` gave; raises ``ValueError`` for anything else."""
        values = _checked_fields(cls, document)
        if values["status"] not in STATUSES:
            raise ValueError(f"unknown status {values['status']!r}")
        if values["status"] in ANSWERED and not isinstance(values["predicted_answer"], str):
            raise ValueError("an answered sample without an answer")
        return cls(**values)


@dataclass(frozen=True)
class Cost:
    """What one sample under one configuration cost."""

    id: str
    prefill_seconds: float
    """Time of the context's prefill, on the sample for which it was computed; 0 on the others
    that shared it.  All configurations of a batch carry the whole time: each needs the prefill."""
    decode_seconds: float
    """The row's equal share of its batch's time."""
    rows: int
    """Configurations in the batch."""
    peak_memory_bytes: int
    """On a GPU, the peak of allocated memory during this sample; on a CPU, the peak of the
    process so far."""
    device: str

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, document: Any) -> Self:
        """Read back what ``to_json`` gave; raises ``ValueError`` for anything else."""
        return cls(**_checked_fields(cls, document))


def six_digits(value: float | None) -> float | None:
    """``value`` to 6 significant digits, so that rounding noise of a device is not recorded."""
    return None if value is None else float(f"{value:.6g}")


_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "str | None": (str, type(None)),
    "float | None": (float, int, type(None)),
}


def _checked_fields(cls: type, document: Any) -> dict[str, Any]:
    if not isinstance(document, Mapping):
        raise ValueError("not a JSON object")
    names = {field.name for field in fields(cls)}
    if set(document) != names:
        odd = sorted(set(document) ^ names)
        raise ValueError(f"missing or unknown fields: {', '.join(odd)}")
    for field in fields(cls):
        value, types = document[field.name], _TYPES.get(str(field.type))
        if types and (not isinstance(value, types) or isinstance(value, bool)):
            raise ValueError(f"field {field.name} is {value!r}")
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"field {field.name} is {value!r}")
    return dict(document)
