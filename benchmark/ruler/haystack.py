"""The prose in which needles are hidden: the project's own, or a text of the user's."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter

from benchmark.ruler.sentences import split_sentences
from sparse_attention.errors import UserError
from sparse_attention.reading import (
    SMALL_FILE,
    decoded,
    parse_json,
    read_bytes,
    user_path,
    validated,
)

Reader = Callable[[int], list[str]]
"""Gives the first ``n`` sentences of one sample's text; a longer text continues a shorter one."""


LONGEST_SENTENCE = 20_000
"""Characters; prose stays far below, and one word of a million letters takes tokenizers minutes."""
_WHAT = "haystack file"


class _Essays(BaseModel):
    """A haystack as JSON."""

    model_config = ConfigDict(strict=True)

    text: str


_ESSAYS = TypeAdapter(_Essays)


class Haystack(ABC):
    """Endless text, sentence by sentence."""

    @abstractmethod
    def reader(self, rng: Random) -> Reader:
        """Return the text of one sample."""

    @abstractmethod
    def provenance(self) -> dict[str, Any]:
        """Return what the text is, as JSON values."""


class FillerHaystack(Haystack):
    """Prose of a seeded sentence generator, new in each sample."""

    def __init__(self, sentence: Callable[[Random], str], name: str) -> None:
        self._sentence = sentence
        self._name = name

    def reader(self, rng: Random) -> Reader:
        """Sentences drawn one after the other."""
        sentences: list[str] = []

        def read(count: int) -> list[str]:
            while len(sentences) < count:
                sentences.append(self._sentence(rng))
            return sentences[:count]

        return read

    def provenance(self) -> dict[str, Any]:
        """Name of the generator."""
        return {"haystack": f"filler:{self._name}"}


class FileHaystack(Haystack):
    """Text of a file; it starts at a random sentence and begins anew where it ends."""

    def __init__(self, path: str) -> None:
        self._path = user_path(path, _WHAT)
        text, self._sha256 = read_text(self._path)
        self._sentences, self._splitter = split_sentences(" ".join(text.split()))
        longest = max(self._sentences, key=len)
        if len(longest) > LONGEST_SENTENCE:
            raise UserError(
                f"{_WHAT} {path}: a sentence has {len(longest)} characters ({longest[:40]!r}...), "
                f"and at most {LONGEST_SENTENCE} are read, because samples are filled sentence by "
                "sentence. A sentence ends with '.', '!' or '?' before white space and a capital "
                "letter."
            )

    def reader(self, rng: Random) -> Reader:
        """Sentences of the file from a random one on."""
        size = len(self._sentences)
        start = rng.randrange(size)

        def read(count: int) -> list[str]:
            laps = (start + count) // size + 1
            return (self._sentences * laps)[start : start + count]

        return read

    def provenance(self) -> dict[str, Any]:
        """File name, hash of its bytes, sentence splitter and number of sentences."""
        return {
            "haystack": self._path.name,
            "haystack_sha256": self._sha256,
            "sentence_splitter": self._splitter,
            "haystack_sentences": len(self._sentences),
        }


def read_text(path: Path) -> tuple[str, str]:
    """A file's text, and the SHA-256 of its bytes."""
    content = read_bytes(path, _WHAT, SMALL_FILE)
    text = decoded(content, path, _WHAT)
    if path.suffix == ".json":
        where = f"{_WHAT} {path}"
        text = validated(
            _ESSAYS,
            parse_json(text, where),
            where,
            'It must be a JSON object {"text": "..."}, or plain text under another name.',
        ).text
    if not text.strip():
        raise UserError(f"the {_WHAT} {path} holds no text.")
    return text, hashlib.sha256(content).hexdigest()
