"""Special tokens that a text spells out stay text; those that a template writes count."""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from sparse_attention.prompt.template import RenderedPrompt

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

_SHORT = 3  # characters; shorter tokens that a template writes are white space and marks


def control_tokens(tokenizer: PreTrainedTokenizerBase, prompt: RenderedPrompt) -> list[str]:
    """What text must not become: special tokens, and added ones that the template writes."""
    written = prompt.head + prompt.tail
    names = set(tokenizer.all_special_tokens)
    for token in tokenizer.added_tokens_decoder.values():
        name = token.content
        if token.special or (len(name.strip()) >= _SHORT and name in written):
            names.add(name)
    # Longest first, so that a pattern of them finds the longest.
    return sorted(names, key=lambda name: (-len(name), name))


def pattern(names: Sequence[str]) -> re.Pattern[str]:
    """Finds any of ``names``, which begin with the longest."""
    return re.compile("|".join(re.escape(name) for name in names) or "(?!)")


def spelled_out(prompt: RenderedPrompt, names: Sequence[str]) -> bool:
    """Whether one of ``names`` stands in the prompt that the template did not write."""
    found = pattern(names)
    start = len(prompt.text) - len(prompt.answer_prefix) - len(prompt.tail)
    written = [match.span() for match in found.finditer(prompt.head)]
    written += [
        (match.start() + start, match.end() + start) for match in found.finditer(prompt.tail)
    ]
    return [match.span() for match in found.finditer(prompt.text)] != written


class RenamedTokenizer:
    """A copy of a tokenizer in which control tokens have names that no text spells out.

    What spells out their old names is text to it, also for models that have them in their
    vocabulary; and a whole prompt, with the new names where the template wrote the old ones, is
    encoded at once, as the tokenizer does it.
    """

    def __init__(self, tokenizer: PreTrainedTokenizerBase, names: Sequence[str]) -> None:
        self.names = list(names)
        self._pattern = pattern(names)
        # Letters and digits, because normalizers leave them as they are.
        base = f"q{secrets.token_hex(12)}x"
        self._new = {name: f"{base}{number}q" for number, name in enumerate(names)}
        backend: Any = tokenizer
        definition = json.loads(backend.backend_tokenizer.to_str())
        old_ids = {token["content"]: token["id"] for token in definition["added_tokens"]}
        for token in definition["added_tokens"]:
            token["content"] = self._new.get(token["content"], token["content"])
        _rename_vocabulary(definition["model"], self._new)
        definition["post_processor"] = None
        self._backend = type(backend.backend_tokenizer).from_str(json.dumps(definition))
        self._backend.no_truncation()
        self._backend.no_padding()
        self._old_id = {
            self._backend.token_to_id(self._new.get(name, name)): old
            for name, old in old_ids.items()
        }

    def rewrite(self, text: str) -> str:
        """A text of the template with the new names."""
        return self._pattern.sub(lambda match: self._new[match[0]], text)

    def encode(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        """Tokens, under the ids that they have in the tokenizer, and their offsets."""
        encoding = self._backend.encode(text, add_special_tokens=False)
        return [self._old_id.get(token, token) for token in encoding.ids], encoding.offsets


def _rename_vocabulary(model: dict[str, Any], new: dict[str, str]) -> None:
    """Rename, in place, what the model of a tokenizer would find as a whole in a text."""
    merged = {"".join(pair) for pair in model.get("merges", ())}
    # A single character may be needed as text, and so may what merges give.
    new = {old: name for old, name in new.items() if len(old) > 1 and old not in merged}
    if isinstance(model["vocab"], dict):
        model["vocab"] = {new.get(name, name): key for name, key in model["vocab"].items()}
    else:
        model["vocab"] = [[new.get(name, name), score] for name, score in model["vocab"]]
    if isinstance(model.get("unk_token"), str):
        model["unk_token"] = new.get(model["unk_token"], model["unk_token"])


_COPIES: WeakKeyDictionary[PreTrainedTokenizerBase, RenamedTokenizer] = WeakKeyDictionary()


def renamed(tokenizer: PreTrainedTokenizerBase, names: Sequence[str]) -> RenamedTokenizer:
    """A copy, kept for the next prompt: to copy a large vocabulary takes a second."""
    found = _COPIES.get(tokenizer)
    if found is None or found.names != list(names):
        found = _COPIES[tokenizer] = RenamedTokenizer(tokenizer, names)
    return found


def split_at(names: Sequence[str], text: str) -> Iterator[tuple[str, bool]]:
    """A text in pieces, and whether each is one of ``names``."""
    for number, piece in enumerate(re.split(f"({pattern(names).pattern})", text)):
        yield piece, bool(number % 2)
