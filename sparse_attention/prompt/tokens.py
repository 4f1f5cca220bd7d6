"""A rendered prompt as tokens, encoded as one text, and where its parts meet."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from sparse_attention.errors import UserError
from sparse_attention.prompt.control_tokens import control_tokens, renamed, spelled_out, split_at
from sparse_attention.prompt.settings import PromptSettings
from sparse_attention.prompt.template import (
    RenderedPrompt,
    apply_template,
    is_mistral_common,
    template_name,
)

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_PROBE = 64  # characters of a text that show what its tokenizer puts in front of it


@dataclass(frozen=True)
class PromptTokens:
    """Tokens of a whole prompt, and where its parts begin."""

    ids: list[int]
    head: int
    """Tokens before the context: what the tokenizer begins texts with, and the template's head."""
    border: int
    """Tokens before the question.  White space at the end of the context, and a token of which the
    context has only a part, belong to the question: before another one they may be other tokens."""


def encode_rendered(tokenizer: PreTrainedTokenizerBase, prompt: RenderedPrompt) -> PromptTokens:
    """Tokens of a prompt: those that its tokenizer gives for the joined text.

    What it puts at the end of texts is left out, because an answer follows.  Special tokens that
    are spelled out count in the template's parts alone.
    """
    if getattr(tokenizer, "is_fast", False):
        tokens = _encode_with_offsets(tokenizer, prompt)
    else:
        tokens = _encode_growing(tokenizer, prompt)
    own = _own_start(tokenizer, prompt.text)
    written = 0  # by the template too, perhaps twice
    while own and tokens.ids[written : written + len(own)] == own:
        written += len(own)
    added = len(own) - written
    return PromptTokens(
        own + tokens.ids[written:],
        max(tokens.head + added, len(own)),
        max(tokens.border + added, len(own)),
    )


def encode_mistral_chat(
    tokenizer: PreTrainedTokenizerBase,
    context: str,
    question: str,
    answer_prefix: str,
    settings: PromptSettings,
) -> PromptTokens:
    """Tokens of a prompt with the template of mistral-common, which gives tokens.

    Raises:
        UserError: if the message has other tokens there than alone, as in its oldest templates:
            context and question cannot be told apart then.
    """
    content = context + question
    messages = [{"role": "user", "content": content}]
    chat = apply_template(tokenizer, messages, settings, tokenize=True, return_dict=False)
    body = _encode(tokenizer, content)
    head = _find(chat, body)
    if head is None:
        raise UserError(
            f"{template_name(tokenizer)} does not keep a message apart from what stands around it; "
            "use chat_template 'never'"
        )
    border = head + _common_start(body, _encode(tokenizer, context.rstrip()))
    return PromptTokens([*chat, *_encode(tokenizer, answer_prefix)], head, border)


def _encode_with_offsets(
    tokenizer: PreTrainedTokenizerBase, prompt: RenderedPrompt
) -> PromptTokens:
    names = control_tokens(tokenizer, prompt)
    if spelled_out(prompt, names):
        copy = renamed(tokenizer, names)
        head, tail = copy.rewrite(prompt.head), copy.rewrite(prompt.tail)
        ids, offsets = copy.encode(
            head + prompt.context + prompt.question + tail + prompt.answer_prefix
        )
    else:
        head = prompt.head
        encoded = tokenizer(
            prompt.text, add_special_tokens=False, return_offsets_mapping=True, verbose=False
        )
        ids, offsets = list(encoded["input_ids"]), encoded["offset_mapping"]
    start = len(head)
    border = start + len(prompt.context.rstrip())
    # Both ends count: tokens of white space may have empty spans.
    return PromptTokens(
        ids,
        _count(span[0] < start for span in offsets),
        _count(span[0] < border and span[1] <= border for span in offsets),
    )


def _encode_growing(tokenizer: PreTrainedTokenizerBase, prompt: RenderedPrompt) -> PromptTokens:
    """For tokenizers without offsets: a part ends where the prompt's tokens are not its own."""
    names = [] if is_mistral_common(tokenizer) else control_tokens(tokenizer, prompt)
    in_pieces = spelled_out(prompt, names)

    def encode(*parts: tuple[str, bool]) -> list[int]:
        if in_pieces:
            return _encode_pieces(tokenizer, parts, names)
        return _encode(tokenizer, "".join(text for text, _ in parts))

    head = (prompt.head, True)
    ids = encode(
        head,
        (prompt.context + prompt.question, False),
        (prompt.tail, True),
        (prompt.answer_prefix, False),
    )
    return PromptTokens(
        ids,
        _common_start(ids, encode(head)),
        _common_start(ids, encode(head, (prompt.context.rstrip(), False))),
    )


def _encode_pieces(
    tokenizer: PreTrainedTokenizerBase, parts: Sequence[tuple[str, bool]], names: Sequence[str]
) -> list[int]:
    """Tokens of joined parts, each with whether ``names`` count in it.

    Text between two of them is one piece, as tokenizers without offsets see it too.
    """
    ids: list[int] = []
    text = ""
    for part, control in parts:
        for piece, name in split_at(names, part) if control else [(part, False)]:
            if name:
                ids += _encode(tokenizer, text, split_special_tokens=True)
                ids.append(tokenizer.added_tokens_encoder[piece])
                text = ""
            else:
                text += piece
    return ids + _encode(tokenizer, text, split_special_tokens=True)


def _encode(tokenizer: PreTrainedTokenizerBase, text: str, **arguments: bool) -> list[int]:
    if not text:
        return []
    encoded = tokenizer(text, add_special_tokens=False, verbose=False, **arguments)
    return list(encoded["input_ids"])


def _own_start(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """What the tokenizer puts in front of a text: a BOS, more, or nothing."""
    text = text[:_PROBE] + "a"  # some tokenizers see nothing in white space
    if getattr(tokenizer, "is_fast", False):
        encoded = tokenizer(text, return_special_tokens_mask=True, verbose=False)
        return list(encoded["input_ids"])[: _count(encoded["special_tokens_mask"])]
    whole = list(tokenizer(text, verbose=False)["input_ids"])
    return whole[: _find(whole, _encode(tokenizer, text)) or 0]


def _count(leading: Iterable[object]) -> int:
    """How many are true before the first that is not."""
    return sum(1 for _ in takewhile(bool, leading))


def _find(whole: Sequence[int], part: Sequence[int]) -> int | None:
    """Where ``part`` first stands in ``whole``."""
    starts = range(len(whole) - len(part) + 1)
    return next((i for i in starts if whole[i : i + len(part)] == part), None)


def _common_start(one: Sequence[int], other: Sequence[int]) -> int:
    """How many tokens both begin with."""
    return _count(first == second for first, second in zip(one, other, strict=False))
