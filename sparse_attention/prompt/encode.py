"""A prompt as the tokens of two parts, short enough for the model."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sparse_attention.errors import UserError
from sparse_attention.prompt.settings import PromptSettings, PromptSkipped, PromptTooLong
from sparse_attention.prompt.template import (
    RenderedPrompt,
    is_mistral_common,
    render,
    seam,
    uses_template,
)
from sparse_attention.prompt.thinking import opens_thinking, thinks_first
from sparse_attention.prompt.tokens import PromptTokens, encode_mistral_chat, encode_rendered

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class EncodedPrompt:
    """Tokens of a prompt in two parts, so that one prefill serves several questions."""

    context_ids: tuple[int, ...]
    question_ids: tuple[int, ...]
    """Question, end of the user turn, start of the answer, answer prefix; before them what the
    context ends with, if that depends on the question."""
    removed_tokens: int
    """Tokens of the context that were cut; 0 where it is whole."""
    opens_thinking: bool = False
    """Whether the template ends inside thinking marks: the answer begins with what is thought."""

    @property
    def sha256(self) -> str:
        """Hex SHA-256 of all tokens as little-endian 64-bit integers: what the model read."""
        ids = (*self.context_ids, *self.question_ids)
        return hashlib.sha256(struct.pack(f"<{len(ids)}q", *ids)).hexdigest()


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

    The whole text becomes tokens at once, and these are cut where the question begins: together the
    two parts are what the tokenizer gives for the joined text, begun as it begins texts (a BOS,
    exactly one, also where the template writes it).  White space at the end of the context and a
    token that spans the border belong to the question, so that the context is mostly the same for
    all its questions.  Special tokens that are spelled out in the parts are text.

    Args:
        tokenizer: of the model.
        context: read once and shared by its questions.
        question: what is asked.
        answer_prefix: how the answer begins; with a template after the assistant's header, unless
            ``settings.answer_prefix_turn`` is ``user`` or the model thinks before it answers.
        truncation_notice: said before the question if the context is cut.
        settings: template and truncation.
        max_new_tokens: room to leave for the answer.
        max_positions: what the model can take in all.

    Raises:
        PromptTooLong: if it does not fit and must not be cut, or not even the question fits.
        PromptSkipped: if it does not fit and ``settings.truncation`` is ``skip``.
        UserError: if a template is asked for and there is none, it fails, or the context cannot be
            found in what it gives, or the prompt has not two tokens.
    """
    context, question, notice, answer_prefix = map(
        _clean, (context, question, truncation_notice, answer_prefix)
    )
    limit = min(max_positions, settings.max_prompt_tokens or max_positions)
    limit = min(limit, max_positions - max_new_tokens)
    tokens = _encode(tokenizer, context, question, answer_prefix, settings)
    removed = range(tokens.border, tokens.border)
    if len(tokens.ids) > limit:
        if notice:
            tokens = _encode(tokenizer, context, notice + question, answer_prefix, settings)
        removed = _removed(tokens, limit, settings)
    return EncodedPrompt(
        (*tokens.ids[: removed.start], *tokens.ids[removed.stop : tokens.border]),
        tuple(tokens.ids[tokens.border :]),
        len(removed),
        opens_thinking(tokenizer, settings),
    )


def _clean(text: str) -> str:
    """A text without lone surrogates, which no tokenizer takes."""
    return text.encode("utf-8", errors="replace").decode("utf-8")


def _encode(
    tokenizer: PreTrainedTokenizerBase,
    context: str,
    question: str,
    answer_prefix: str,
    settings: PromptSettings,
) -> PromptTokens:
    """Tokens of the whole prompt, with at least one before the border and one behind it."""
    if not uses_template(tokenizer, settings):
        between = seam(question, answer_prefix, settings.separator)
        rendered = RenderedPrompt("", context, question, between, answer_prefix)
        tokens = encode_rendered(tokenizer, rendered)
    else:
        if settings.answer_prefix_turn == "user" or thinks_first(tokenizer, settings):
            question, answer_prefix = question + answer_prefix, ""
        if is_mistral_common(tokenizer):
            tokens = encode_mistral_chat(tokenizer, context, question, answer_prefix, settings)
        else:
            rendered = render(tokenizer, context, question, answer_prefix, settings)
            tokens = encode_rendered(tokenizer, rendered)
    if len(tokens.ids) < 2:
        raise UserError(
            f"the prompt has {len(tokens.ids)} tokens; give at least one of context and one of "
            "question"
        )
    border = min(max(tokens.border, 1), len(tokens.ids) - 1)
    return PromptTokens(tokens.ids, min(tokens.head, border), border)


def _removed(tokens: PromptTokens, limit: int, settings: PromptSettings) -> range:
    """Which tokens of the context are left out."""
    head, border, question = tokens.head, tokens.border, len(tokens.ids) - tokens.border
    size = f"a context of {border - head} tokens and a question of {question}"
    room = limit - head - question
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
        return range(head, border - room)
    if settings.truncation == "right":
        return range(head + room, border)
    # Of the whole prompt, template and question with it, both halves stay that fit into the limit;
    # of an odd one they leave a token free, as upstream.
    first, last = limit // 2 - head, limit // 2 - question
    if first < 0:
        first, last = 0, room
    elif last < 0:
        first, last = room, 0
    return range(head + first, border - last)
