"""What is recorded of one sample under one configuration."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    InstanceOf,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveInt,
    ValidationError,
    model_validator,
)

Status = Literal["ok", "truncated", "skipped", "failed"]
Reason = Literal["out_of_memory", "worker_died", "error", "not_finite", "prompt_too_long", ""]

STATUSES: tuple[Status, ...] = ("ok", "truncated", "skipped", "failed")
ANSWERED: tuple[Status, ...] = ("ok", "truncated")
"""Statuses of samples that count into the score."""

Text = InstanceOf[str]
"""Any string: ``str`` itself refuses the lone surrogates that a model may write."""
Share = Annotated[float, Field(ge=0, le=1)]
_MOST_LAYERS = 512
"""The deepest model that was published has 126."""
LayerShares = Annotated[list[Share], Field(min_length=1, max_length=_MOST_LAYERS)]
LayerErrors = Annotated[list[NonNegativeFloat], Field(min_length=1, max_length=_MOST_LAYERS)]


class Record(BaseModel):
    """Something that is written as JSON and read back; no field without a default may be left out.

    Raises:
        ValueError: if a field is missing, unknown, of another type or out of its bounds.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def to_json(self) -> dict[str, Any]:
        """All fields as JSON values."""
        return self.model_dump()

    @classmethod
    def from_json(cls, document: object) -> Self:
        """Read back what ``to_json`` gave; raises ``ValueError`` for anything else."""
        try:
            return cls.model_validate(document)
        except ValidationError as error:
            problem = error.errors()[0]
            field = ".".join(str(part) for part in problem["loc"]) or "record"
            raise ValueError(f"{field} = {problem['input']!r:.80}: {problem['msg']}") from None


class PartOfRecord(Record):
    """The fields of a longer document that are read by name; what else it has is not looked at."""

    model_config = ConfigDict(extra="allow")


def total_read(united: float | None, choosing: float | None) -> float | None:
    """What is read of keys and values, and to choose them; None if either is not known."""
    return None if united is None or choosing is None else united + choosing


class Prediction(Record):
    """The answer to one sample, or why there is none.  The same in every run: it has no times."""

    id: Text
    task: Text
    context: Text
    """Hash of the context; samples with the same one depend on each other."""
    question: Text
    answer_prefix: Text
    references: list[Text]
    """What the answer is compared with."""
    status: Status
    """``truncated``: answered, but a part of the prompt was cut."""
    reason: Reason
    detail: Text
    """For a failed or skipped sample, the cause for people."""
    predicted_answer: Text | None
    """What is scored."""
    thought: Text | None
    """What the model wrote between thinking marks, removed from the answer; None without marks."""
    thought_tokens: NonNegativeInt
    """Tokens of the text that was removed, among those of the answer."""
    answer_tokens: NonNegativeInt
    finish_reason: Literal["stop", "length"] | None
    density: Share | None
    """Keys read / keys visible, 6 significant digits."""
    attention_error: NonNegativeFloat | None
    """Relative squared error against dense attention, 6 significant digits."""
    union_density: Share | None
    """The density by key-value head: a key counts once for all query heads that read it."""
    selection_share: NonNegativeFloat | None
    """Bytes read to choose keys / bytes of all keys and values."""
    kept_share: NonNegativeFloat | None
    """Bytes of keys and values held at the end / those that dense attention holds, 6 significant
    digits."""
    layer_density: LayerShares | None = None
    """The density in each layer that keeps keys, 3 significant digits; None in files of before."""
    layer_error: LayerErrors | None = None
    """The attention error in each of them, likewise."""
    prompt_tokens: NonNegativeInt
    removed_tokens: NonNegativeInt
    prompt_sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None
    """Hash of the prompt's tokens as little-endian 64-bit integers; None if it has none."""
    prompt: Text | None
    """What the model read, as text with its special tokens; None but for the first samples."""
    depth: Share | None = None
    """Where in the context the first reference stands, 0 at its beginning; None if in no place, or
    in several."""
    excerpt: Text = ""
    """Of the context, what stands around that place, else its beginning."""
    score: Share | None
    """By the metric of the benchmark; None until it was scored, and where there is no answer or no
    reference."""

    @property
    def bytes_read(self) -> float | None:
        """Bytes read, to choose too / bytes of all keys and values that dense attention reads."""
        return total_read(self.union_density, self.selection_share)

    @classmethod
    def unanswered(
        cls,
        status: Literal["skipped", "failed"],
        reason: Reason,
        detail: str,
        *,
        id: str,
        task: str,
        context: str,
        question: str,
        answer_prefix: str,
        references: list[str],
        prompt_tokens: int = 0,
        removed_tokens: int = 0,
        prompt_sha256: str | None = None,
        prompt: str | None = None,
        depth: float | None = None,
        excerpt: str = "",
    ) -> Self:
        """The record of a sample without an answer."""
        return cls(
            id=id,
            task=task,
            context=context,
            question=question,
            answer_prefix=answer_prefix,
            references=references,
            status=status,
            reason=reason,
            detail=detail,
            predicted_answer=None,
            thought=None,
            thought_tokens=0,
            answer_tokens=0,
            finish_reason=None,
            density=None,
            attention_error=None,
            union_density=None,
            selection_share=None,
            kept_share=None,
            prompt_tokens=prompt_tokens,
            removed_tokens=removed_tokens,
            prompt_sha256=prompt_sha256,
            prompt=prompt,
            depth=depth,
            excerpt=excerpt,
            score=None,
        )

    @model_validator(mode="after")
    def _answer_or_reason(self) -> Self:
        if self.answered != (self.predicted_answer is not None):
            raise ValueError(f"{self.status}, with the answer {self.predicted_answer!r:.40}")
        if self.answered and self.prompt_sha256 is None:
            raise ValueError(f"{self.status}, without the hash of the prompt")
        if self.answered != (self.reason == ""):
            raise ValueError(f"{self.status}, with the reason {self.reason!r}")
        return self

    @property
    def answered(self) -> bool:
        """Whether there is an answer to score."""
        return self.status in ANSWERED


class Cost(Record):
    """What one sample under one configuration cost; another in every run."""

    id: Text
    prefill_seconds: NonNegativeFloat
    """Time of the context's prefill, on the sample for which it was computed; 0 on the others
    that shared it.  All configurations of a batch carry the whole time: each needs the prefill."""
    decode_seconds: NonNegativeFloat
    """The row's equal share of its batch's time."""
    rows: PositiveInt
    """Configurations in the batch."""
    peak_memory_bytes: NonNegativeInt
    """On a GPU, the peak of allocated memory during this sample; on a CPU, the peak of the
    process so far."""
    device: Text


def six_digits(value: float | None) -> float | None:
    """``value`` to 6 significant digits, so that rounding noise of a device is not recorded."""
    return None if value is None else float(f"{value:.6g}")


def three_digits(values: Sequence[float] | None) -> list[float] | None:
    """Values by layer to 3 significant digits: each sample has as many as there are layers."""
    return None if values is None else [float(f"{value:.3g}") for value in values]
