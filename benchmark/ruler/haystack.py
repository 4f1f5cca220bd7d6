"""The prose in which needles are hidden: the project's own, or a text of the user's."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

from benchmark.ruler.sentences import split_sentences
from sparse_attention.errors import UserError

Reader = Callable[[int], list[str]]
"""Gives the first ``n`` sentences of one sample's text; a longer text continues a shorter one."""


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
        self._path = Path(path)
        text, self._sha256 = read_text(self._path)
        self._sentences, self._splitter = split_sentences(" ".join(text.split()))

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
    try:
        content = path.read_bytes()
        text = content.decode("utf-8")
        if path.suffix == ".json":
            data = json.loads(text)
            text = data["text"]
            if not isinstance(text, str):
                raise TypeError
    except OSError as error:
        raise UserError(f"cannot read the haystack file {path}: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the haystack file {path} is not UTF-8 text: {error}.") from error
    except json.JSONDecodeError as error:
        raise UserError(f"the haystack file {path} is not valid JSON: {error}.") from error
    except (KeyError, TypeError) as error:
        raise UserError(
            f'the haystack file {path} must be a JSON object {{"text": "..."}} or plain text.'
        ) from error
    if not text.strip():
        raise UserError(f"the haystack file {path} holds no text.")
    return text, hashlib.sha256(content).hexdigest()
