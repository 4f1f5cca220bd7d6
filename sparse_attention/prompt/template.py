"""From context, question and answer prefix to one text, with the chat template of a tokenizer."""

from __future__ import annotations

import contextlib
import datetime
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sparse_attention.errors import UserError, first_line
from sparse_attention.prompt.settings import PromptSettings

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class RenderedPrompt:
    """A prompt as one text, in five neighbouring parts.

    ``head`` and ``tail`` are the template's, in which special tokens count; in the other parts they
    are plain text.
    """

    head: str
    context: str
    question: str
    tail: str
    answer_prefix: str

    @property
    def text(self) -> str:
        """All parts, joined."""
        return self.head + self.context + self.question + self.tail + self.answer_prefix


def seam(question: str, answer_prefix: str, separator: str) -> str:
    """What stands between the two without a chat template: nothing, where they bring it."""
    spaced = question[-1:].isspace() or answer_prefix[:1].isspace() or not answer_prefix
    return "" if spaced else separator


def is_mistral_common(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer is one of the package mistral-common.

    Its chat template is code that gives tokens, ``chat_template`` is None, and no text becomes a
    control token.
    """
    # By name, because the class can only be imported where the package is.
    return any(base.__name__ == "MistralCommonBackend" for base in type(tokenizer).__mro__)


def has_template(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether a tokenizer knows how to put a message into a chat."""
    return bool(tokenizer.chat_template) or is_mistral_common(tokenizer)


def uses_template(tokenizer: PreTrainedTokenizerBase, settings: PromptSettings) -> bool:
    """Whether prompts get a chat template; raises ``UserError`` if they must and there is none."""
    if settings.chat_template == "always" and not has_template(tokenizer):
        raise UserError(
            "chat_template 'always', but the tokenizer has no chat template; use 'auto' or 'never'"
        )
    return has_template(tokenizer) and settings.chat_template != "never"


def render(
    tokenizer: PreTrainedTokenizerBase,
    context: str,
    question: str,
    answer_prefix: str,
    settings: PromptSettings,
) -> RenderedPrompt:
    """The prompt with its chat template, as ``apply_chat_template`` renders it.

    Templates may trim the white space around a message.

    Raises:
        UserError: if the template fails, or does not show the message once.
    """
    content = context + question
    # Where the message stands is known from another one, which cannot be a part of the template.
    digest = hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
    marked = _text_of(tokenizer, f"[{digest}]", settings)
    shown = marked.split(f"[{digest}]")
    if len(shown) != 2:
        raise UserError(
            f"{template_name(tokenizer)} shows a message {len(shown) - 1} times instead of once; "
            "use chat_template 'never'"
        )
    head, tail = shown
    text = _text_of(tokenizer, content, settings)
    for start, stop in _trimmed(content):
        if text == head + content[start:stop] + tail:
            middle = min(max(len(context), start), stop)
            return RenderedPrompt(
                head, content[start:middle], content[middle:stop], tail, answer_prefix
            )
    raise UserError(
        f"{template_name(tokenizer)} changes the message or what stands around it, so that "
        "context and question cannot be told apart; use chat_template 'never'"
    )


def end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The token with which the chat template ends what the assistant says, if it has one."""
    if not tokenizer.chat_template:
        return None
    messages = [{"role": "user", "content": "[ask]"}, {"role": "assistant", "content": "[say]"}]
    try:
        text = apply_template(tokenizer, messages, PromptSettings(), tokenize=False)
    except UserError:
        return None  # templates that know no answers are fit for one question
    after = text.rpartition("[say]")[2].lstrip()
    names = {token.content: key for key, token in tokenizer.added_tokens_decoder.items()}
    first = max((name for name in names if after.startswith(name)), key=len, default=None)
    return None if first is None else names[first]


def _text_of(tokenizer: PreTrainedTokenizerBase, content: str, settings: PromptSettings) -> str:
    """One turn of the user, and the start of the assistant's."""
    text = apply_template(
        tokenizer,
        [{"role": "user", "content": content}],
        settings,
        tokenize=False,
        add_generation_prompt=True,
        # Both names that templates have for it.
        enable_thinking=settings.thinking == "on",
        thinking=settings.thinking == "on",
    )
    return str(text)


def _trimmed(text: str) -> Iterator[tuple[int, int]]:
    """Start and stop of a text as templates may show it: whole, or without outer white space."""
    start, stop = len(text) - len(text.lstrip()), len(text.rstrip())
    yield 0, len(text)
    yield min(start, stop), stop
    yield start, len(text)
    yield 0, stop


def apply_template(
    tokenizer: PreTrainedTokenizerBase,
    messages: Sequence[Mapping[str, str]],
    settings: PromptSettings,
    **arguments: bool,
) -> Any:
    """What ``apply_chat_template`` gives on the day of the settings.

    Raises ``UserError``, which names the template, for whatever it raises.
    """
    try:
        with _fixed_clock(settings.date):
            return tokenizer.apply_chat_template(list(messages), **arguments)
    except Exception as error:  # a template is a program, which can fail in any way
        raise UserError(
            f"{template_name(tokenizer)} fails: {type(error).__name__}: {first_line(error)}; "
            "mend it, or use chat_template 'never'"
        ) from error


def template_name(tokenizer: PreTrainedTokenizerBase) -> str:
    """The chat template of a tokenizer, for messages."""
    return f"the chat template of {tokenizer.name_or_path or type(tokenizer).__name__}"


@contextlib.contextmanager
def _fixed_clock(date: datetime.date) -> Iterator[None]:
    """Let templates' ``strftime_now`` tell ``date``, at midnight, inside."""
    midnight = datetime.datetime.combine(date, datetime.time())

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return midnight.replace(tzinfo=tz)

    from transformers.utils import chat_template_utils

    module: Any = chat_template_utils
    # Its name in the module, because arguments of a template must be plain data.
    own, module.datetime = module.datetime, Clock
    try:
        yield
    finally:
        module.datetime = own
