"""What came of a sample under one configuration, and its record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benchmark.results.records import Prediction, Reason, six_digits, three_digits
from sparse_attention.answer import Answer
from sparse_attention.prompt import Reply, read_reply

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Failure:
    """Why there is no answer."""

    reason: Reason
    detail: str


@dataclass(frozen=True)
class AnsweredRow:
    """An answer with its share of the time of its batch."""

    answer: Answer
    seconds: float
    rows: int


def prediction_of(
    about: Mapping[str, Any],
    outcome: AnsweredRow | Failure,
    tokenizer: PreTrainedTokenizerBase,
    begun: bool,
) -> Prediction:
    """The record of an outcome.

    Args:
        about: its fields that every outcome has.
        outcome: what came.
        tokenizer: of the model, to tell what it thought from what it answered.
        begun: whether the prompt had begun to think for it.
    """
    if isinstance(outcome, Failure):
        return Prediction.unanswered("failed", outcome.reason, outcome.detail, **about)
    answer = outcome.answer
    if answer.finish_reason == "not_finite":
        detail = f"logits after {len(answer.token_ids)} tokens of the answer are NaN or infinite"
        return Prediction.unanswered("failed", "not_finite", detail, **about)
    measured: dict[str, Any] = {
        name: six_digits(getattr(answer, name))
        for name in (
            "density",
            "attention_error",
            "union_density",
            "selection_share",
            "kept_share",
        )
    }
    if not all(value is None or math.isfinite(value) for value in measured.values()):
        detail = ", ".join(f"{name} {value}" for name, value in measured.items())
        return Prediction.unanswered("failed", "not_finite", detail, **about)
    reply = read_reply(tokenizer, answer.token_ids, begun) or Reply(answer.text, None)
    thought = reply.thought or ""
    return Prediction(
        **about,
        status="truncated" if about["removed_tokens"] else "ok",
        reason="",
        detail="",
        predicted_answer=reply.text,
        thought=reply.thought,
        thought_tokens=len(tokenizer.encode(thought, add_special_tokens=False)) if thought else 0,
        answer_tokens=len(answer.token_ids),
        finish_reason=answer.finish_reason,
        **measured,
        layer_density=three_digits(answer.layer_densities),
        layer_error=three_digits(answer.layer_errors),
        score=None,
    )
