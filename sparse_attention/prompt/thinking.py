"""What reasoning models write between marks before they answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparse_attention.errors import UserError
from sparse_attention.prompt.settings import PromptSettings
from sparse_attention.prompt.template import (
    is_mistral_common,
    render,
    template_name,
    uses_template,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARKS = (
    ("<think>", "</think>"),  # Qwen 3, DeepSeek R1, GLM 4.5, SmolLM3 and most others
    ("<thought>", "</thought>"),  # EXAONE Deep
    ("[THINK]", "[/THINK]"),  # Magistral
    ("<seed:think>", "</seed:think>"),  # Seed-OSS
    ("<|START_THINKING|>", "<|END_THINKING|>"),  # Command A Reasoning
    ("<|channel|>analysis<|message|>", "<|channel|>final<|message|>"),  # gpt-oss
)
"""Pairs of marks that open and close what a model thinks."""


@dataclass(frozen=True)
class Reply:
    """An answer without what the model thought before it."""

    text: str
    thought: str | None
    """What was removed, without the marks; None where the model wrote and was given no mark."""


def check_prompt_settings(tokenizer: PreTrainedTokenizerBase, settings: PromptSettings) -> None:
    """Raise ``UserError`` for settings that no prompt of a tokenizer can follow."""
    templated = uses_template(tokenizer, settings)
    if settings.thinking == "auto":
        return
    if not templated:
        raise UserError(
            f"thinking {settings.thinking!r}, but prompts have no chat template, which would tell "
            "the model; leave it at 'auto'"
        )
    texts = [
        _frame(tokenizer, settings.model_copy(update={"thinking": one})) for one in ("on", "off")
    ]
    if texts[0] == texts[1]:
        raise UserError(
            f"thinking {settings.thinking!r}, but {template_name(tokenizer)} does not know it: it "
            "writes the same for 'on' and 'off'; leave it at 'auto'"
        )


def opens_thinking(tokenizer: PreTrainedTokenizerBase, settings: PromptSettings) -> bool:
    """Whether the chat template ends inside thinking marks, so that an answer begins there."""
    marks = _marks(tokenizer)
    if not marks or not uses_template(tokenizer, settings):
        return False
    tail = _frame(tokenizer, settings)
    last = max((tail.rfind(opening), closing) for opening, closing in marks)
    return last[0] >= 0 and last[1] not in tail[last[0] :]


def thinks_first(tokenizer: PreTrainedTokenizerBase, settings: PromptSettings) -> bool:
    """Whether an answer is expected to begin with what the model thinks."""
    return settings.thinking == "on" or opens_thinking(tokenizer, settings)


def read_reply(
    tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int], begun: bool
) -> Reply | None:
    """The text of an answer without what stands between the marks that the tokenizer knows.

    What stands before a closing mark that nothing opened is thought too, and so is all that
    follows an opening mark that is never closed.

    Args:
        tokenizer: of the model.
        token_ids: of the answer.
        begun: whether the prompt ends inside thinking marks.

    Returns:
        None if the model has no marks or wrote none, and was not begun.
    """
    marks = _marks(tokenizer)
    if not marks:
        return None
    text = _spelled(tokenizer, token_ids, marks)
    opening, closing = (_any_of(side) for side in zip(*marks, strict=True))
    opened, closed = opening.search(text), closing.search(text)
    if not (begun or opened or closed):
        return None
    inside = begun or opened is None or (closed is not None and closed.start() < opened.start())
    parts: dict[bool, list[str]] = {True: [], False: []}
    while text:
        found = (closing if inside else opening).search(text)
        parts[inside].append(text[: found.start()] if found else text)
        text = text[found.end() :] if found else ""
        inside = not inside
    return Reply("".join(parts[False]).lstrip(), "".join(parts[True]))


def _frame(tokenizer: PreTrainedTokenizerBase, settings: PromptSettings) -> str:
    """What a template writes around a message; nothing for templates that give tokens."""
    if is_mistral_common(tokenizer):
        return ""
    rendered = render(tokenizer, "w", "w", "", settings)
    return f"{rendered.head}\n{rendered.tail}"


def _marks(tokenizer: PreTrainedTokenizerBase) -> list[tuple[str, str]]:
    """The marks that a tokenizer has as tokens or its template writes or looks for."""
    template = str(tokenizer.chat_template or "")
    tokens = {*_special(tokenizer).values(), *getattr(tokenizer, "added_tokens_encoder", ())}
    return [pair for pair in MARKS if any(mark in template or mark in tokens for mark in pair)]


def _special(tokenizer: PreTrainedTokenizerBase) -> dict[int, str]:
    """The tokens that are left out when an answer is decoded."""
    named = dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    added = getattr(tokenizer, "added_tokens_decoder", {})
    return named | {key: token.content for key, token in added.items() if token.special}


def _spelled(
    tokenizer: PreTrainedTokenizerBase, token_ids: Sequence[int], marks: Sequence[tuple[str, str]]
) -> str:
    """The text of tokens, without special ones but for those that marks consist of."""
    written = "".join(mark for pair in marks for mark in pair)
    names = {token: name for token, name in _special(tokenizer).items() if name in written}
    text = ""
    run: list[int] = []
    for token in token_ids:
        if token in names:
            text += _decode(tokenizer, run) + names[token]
            run = []
        else:
            run.append(token)
    return text + _decode(tokenizer, run)


def _decode(tokenizer: PreTrainedTokenizerBase, token_ids: list[int]) -> str:
    return str(tokenizer.decode(token_ids, skip_special_tokens=True)) if token_ids else ""


def _any_of(marks: Iterable[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(re.escape, marks)))
