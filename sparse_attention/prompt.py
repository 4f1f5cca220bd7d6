"""From context, question and answer prefix to tokens: chat template, one BOS, truncation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from transformers import PreTrainedTokenizerBase

from sparse_attention.errors import UserError


class PromptSettings(BaseModel):
    """How prompts are made; part of what a result depends on."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    chat_template: Literal["auto", "always", "never"] = "auto"
    """Put context and question into one user turn; auto: if the tokenizer has a template."""
    thinking: bool = False
    """What chat templates that know ``enable_thinking`` get."""
    truncation: Literal["middle", "left", "right", "error", "skip"] = "middle"
    """What happens to a context that is too long: it loses the middle of the whole prompt, its
    start (left) or its end (right), or it is an error, or the sample is skipped."""
    answer_prefix_turn: Literal["assistant", "user"] = "assistant"
    """With a chat template, whether the answer prefix begins the answer or ends the question."""
    separator: str = "\n"
    """Stands between question and answer prefix where there is no chat template."""
    max_prompt_tokens: int | None = Field(default=None, ge=1)
    """Limit for context and question, in addition to the model's positions."""


class PromptTooLong(UserError):
    """The prompt does not fit, and the settings do not allow to shorten it."""


class PromptSkipped(Exception):
    """The prompt does not fit, and the settings say to leave such samples out."""


@dataclass(frozen=True)
class EncodedPrompt:
    """Tokens of a prompt in two parts, so that one prefill serves several questions."""

    context_ids: tuple[int, ...]
    question_ids: tuple[int, ...]
    """Question, end of the user turn, start of the answer, answer prefix."""
    removed_tokens: int
    """Tokens of the context that were cut; 0 where it is whole."""


def encode_prompt(
    tokenizer: PreTrainedTokenizerBase,
    context: str,
    question: str,
    answer_prefix: str,
    *,
    truncation_notice: str = "",
    settings: PromptSettings,
    max_new_tokens: int,
    max_positions: int,
) -> EncodedPrompt:
    """Tokens of ``context + question + separator + answer_prefix``, or of the chat form of it.

    Text becomes tokens once, without added special tokens; a BOS stands at the start, exactly one,
    if the tokenizer puts one there by itself.  Special tokens spelled out in context or question
    are plain text.

    Args:
        tokenizer: of the model.
        context: read once and shared by its questions.
        question: what is asked.
        answer_prefix: how the answer begins; with a template after the assistant's header, unless
            ``settings.answer_prefix_turn`` is ``user``.
        truncation_notice: said before the question if the context is cut.
        settings: template and truncation.
        max_new_tokens: room to leave for the answer.
        max_positions: what the model can take in all.

    Raises:
        PromptTooLong: if it does not fit and must not be cut, or not even the question fits.
        PromptSkipped: if it does not fit and ``settings.truncation`` is ``skip``.
        UserError: if a template is asked for and there is none, or it cannot be split.
    """
    if settings.answer_prefix_turn == "user" and _uses_template(tokenizer, settings):
        question, answer_prefix = question + answer_prefix, ""
    before, after = _template_parts(tokenizer, question, settings)
    start = _encode(tokenizer, before, specials=True)
    bos = _own_bos(tokenizer)
    if bos is not None:
        while start and start[0] == bos:
            start = start[1:]
        start = [bos, *start]
    question_ids = _encode_question(tokenizer, question, after + answer_prefix)
    body = _encode(tokenizer, context, specials=False)
    limit = min(max_positions, settings.max_prompt_tokens or max_positions)
    limit = min(limit, max_positions - max_new_tokens)
    room = limit - len(start) - len(question_ids)
    kept = body
    if len(body) > room:
        if truncation_notice:
            noticed = truncation_notice + question
            question_ids = _encode_question(tokenizer, noticed, after + answer_prefix)
            room = limit - len(start) - len(question_ids)
        kept = _truncate(body, room, len(question_ids), limit, settings)
    context_ids = (*start, *kept)
    if not context_ids:
        raise UserError("the context has no tokens; give at least one")
    return EncodedPrompt(context_ids, tuple(question_ids), len(body) - len(kept))


def _truncate(
    body: list[int], room: int, question: int, limit: int, settings: PromptSettings
) -> list[int]:
    size = f"a context of {len(body)} tokens and a question of {question}"
    if room < 1:
        raise PromptTooLong(f"{size}: the question alone does not fit into {limit} tokens")
    if settings.truncation == "error":
        raise PromptTooLong(
            f"{size} do not fit into {limit} tokens; choose a truncation policy: middle, left, "
            "right or skip"
        )
    if settings.truncation == "skip":
        raise PromptSkipped(f"{size} do not fit into {limit} tokens")
    if settings.truncation == "left":
        return body[-room:]
    if settings.truncation == "right":
        return body[:room]
    # Both halves of the whole prompt are as long, of which template and question are parts.
    first = min(max(limit // 2 - (limit - room - question), 0), room)
    return body[:first] + body[len(body) - (room - first) :]


def _uses_template(tokenizer: PreTrainedTokenizerBase, settings: PromptSettings) -> bool:
    has_template = bool(getattr(tokenizer, "chat_template", None))
    if settings.chat_template == "always" and not has_template:
        raise UserError(
            "chat_template 'always', but the tokenizer has no chat template; use 'auto' or 'never'"
        )
    return has_template and settings.chat_template != "never"


def _template_parts(
    tokenizer: PreTrainedTokenizerBase, question: str, settings: PromptSettings
) -> tuple[str, str]:
    """What comes before the context and after the question."""
    if not _uses_template(tokenizer, settings):
        return "", settings.separator
    marker = f"[{hashlib.blake2b(question.encode(errors='replace'), digest_size=16).hexdigest()}]"
    text: Any = tokenizer.apply_chat_template(
        [{"role": "user", "content": marker}],
        tokenize=False,
        add_generation_prompt=True,
        enable_thinking=settings.thinking,
    )
    parts = str(text).split(marker)
    if len(parts) != 2:
        raise UserError(
            f"the chat template shows a message {len(parts) - 1} times instead of once; "
            "use chat_template 'never'"
        )
    return parts[0], parts[1]


def _encode_question(tokenizer: PreTrainedTokenizerBase, question: str, after: str) -> list[int]:
    """Tokens of the question, in which no special token counts, and of what comes after it."""
    if any(special in question for special in tokenizer.all_special_tokens):
        return [
            *_encode(tokenizer, question, specials=False),
            *_encode(tokenizer, after, specials=True),
        ]
    # As one text, because a token may span the border.
    return _encode(tokenizer, question + after, specials=True)


def _own_bos(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The BOS token, if the tokenizer begins texts with one by itself."""
    ids = tokenizer("a")["input_ids"]
    return ids[0] if ids and ids[0] == tokenizer.bos_token_id else None


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, *, specials: bool) -> list[int]:
    """Tokens of a text; ``specials``: whether spelled-out special tokens count as such."""
    if not text:
        return []
    # Lone surrogates cannot be encoded; the tokenizer would stop with an exception.
    text = text.encode("utf-8", errors="replace").decode("utf-8")
    encoded = tokenizer(
        text, add_special_tokens=False, split_special_tokens=not specials, verbose=False
    )
    return list(encoded["input_ids"])
