"""How prompts are made, and what may be wrong with one."""

from __future__ import annotations

import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from sparse_attention.errors import UserError


class PromptSettings(BaseModel):
    """How prompts are made; part of what a result depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    chat_template: Literal["auto", "always", "never"] = "auto"
    """Put context and question into one user turn; auto: if the tokenizer has a template.  Those of
    mistral-common always have one, also those of base models."""
    thinking: Literal["auto", "on", "off"] = "auto"
    """Whether the model is to think before it answers: told to chat templates that know
    ``enable_thinking`` or ``thinking``; an error for others.  auto: off where the template knows
    it.  What is thought is not scored.  Where an answer begins with it, the answer prefix ends the
    question."""
    date: datetime.date = datetime.date(2024, 7, 26)
    """What chat templates are told that today is, so that a prompt is the same on any day.  The
    default is the date that Llama 3's templates print where there is no clock."""
    truncation: Literal["middle", "left", "right", "error", "skip"] = "middle"
    """What happens to a context that is too long: it loses the middle of the whole prompt, its
    start (left) or its end (right), or it is an error, or the sample is skipped."""
    answer_prefix_turn: Literal["assistant", "user"] = "assistant"
    """With a chat template, whether the answer prefix begins the answer or ends the question."""
    separator: str = "\n"
    """Stands between question and answer prefix where there is no chat template, and no white space
    at the end of the question or the start of the prefix."""
    max_prompt_tokens: int | None = Field(default=None, ge=1, lt=2**31)
    """Limit for context and question, in addition to the model's positions."""


class PromptTooLong(UserError):
    """The prompt does not fit, and the settings do not allow to shorten it."""


class PromptSkipped(Exception):
    """The prompt does not fit, and the settings say to leave such samples out."""
