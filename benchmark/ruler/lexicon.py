"""Where the words and numbers of generated samples come from."""

from __future__ import annotations

import hashlib
import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from functools import lru_cache
from importlib import metadata, resources
from random import Random
from typing import ClassVar
from uuid import UUID

from benchmark.embedded import vocabulary
from benchmark.ruler import filler
from sparse_attention.errors import UserError, unknown_name


class Lexicon(ABC):
    """Words and numbers; every draw comes from the ``Random`` that is passed in."""

    name: ClassVar[str]
    tasks: ClassVar[frozenset[str] | None] = None
    """Names of the tasks that the lexicon can serve; None for all."""

    @property
    @abstractmethod
    def version(self) -> str:
        """Version of the words' source."""

    @abstractmethod
    def fingerprint(self) -> str:
        """SHA-256 of the words."""

    @abstractmethod
    def keys(self, rng: Random, taken: set[str]) -> Iterator[str]:
        """Endless needle keys, none in ``taken``, distinct as long as the lexicon has more."""

    @abstractmethod
    def variables(self, rng: Random, taken: set[str]) -> Iterator[str]:
        """Variable names, as ``keys``."""

    @abstractmethod
    def needle_number(self, rng: Random) -> str:
        """Return a number that a needle hides."""

    @abstractmethod
    def variable_value(self, rng: Random) -> str:
        """Return a number that a variable holds."""

    @abstractmethod
    def list_words(self, rng: Random, count: int) -> list[str]:
        """Up to ``count`` distinct words for a list of words."""

    @abstractmethod
    def filler_sentence(self, rng: Random) -> str:
        """Return a sentence of filler prose."""

    @property
    @abstractmethod
    def common_words(self) -> tuple[str, ...]:
        """All words for numbered word lists."""


class WonderwordsLexicon(Lexicon):
    """The word lists of the ``wonderwords`` package, as RULER uses them.

    Keys are adjective-noun pairs (6 171 620 of them in version 3.0.1), needle numbers have seven
    digits, variables are five capitals that hold five-digit values, coded words are six lower-case
    letters.
    """

    name = "wonderwords"

    def __init__(self) -> None:
        self._adjectives = wonderwords("adjectivelist.txt")
        self._nouns = wonderwords("nounlist.txt")
        self._verbs = wonderwords("verblist.txt")
        self._common = tuple(sorted({*self._nouns, *self._adjectives, *self._verbs}))

    @property
    def version(self) -> str:
        """Version of the installed package."""
        return metadata.version("wonderwords")

    def fingerprint(self) -> str:
        """SHA-256 of the three word lists."""
        return _hash_words(self._adjectives, self._nouns, self._verbs)

    def keys(self, rng: Random, taken: set[str]) -> Iterator[str]:
        """Adjective-noun pairs."""
        return _unique(
            lambda: f"{rng.choice(self._adjectives)}-{rng.choice(self._nouns)}",
            taken,
        )

    def variables(self, rng: Random, taken: set[str]) -> Iterator[str]:
        """Five capitals."""
        return _unique(lambda: "".join(rng.choices(string.ascii_uppercase, k=5)), taken)

    def needle_number(self, rng: Random) -> str:
        """Seven digits."""
        return str(rng.randint(10**6, 10**7 - 1))

    def variable_value(self, rng: Random) -> str:
        """Five digits, 99999 excluded as upstream."""
        return str(rng.randrange(10_000, 99_999))

    def list_words(self, rng: Random, count: int) -> list[str]:
        """Words of six random lower-case letters."""
        coded = _unique(lambda: "".join(rng.choices(string.ascii_lowercase, k=6)), set())
        return [next(coded) for _ in range(count)]

    def filler_sentence(self, rng: Random) -> str:
        """Return a sentence of the project's own prose."""
        return filler.filler_sentence(rng)

    @property
    def common_words(self) -> tuple[str, ...]:
        """Nouns, adjectives and verbs (8166 in version 3.0.1), sorted."""
        return self._common


class EmbeddedLexicon(Lexicon):
    """The closed vocabulary of the embedded model: every word is one token of its tokenizer."""

    name = "embedded"
    tasks = frozenset(
        {
            "niah_single_1",
            "niah_single_2",
            "niah_multikey_1",
            "niah_multikey_2",
            "niah_multivalue",
            "niah_multiquery",
            "vt",
            "fwe",
        }
    )

    @property
    def version(self) -> str:
        """Number of keys, which tells versions of the vocabulary apart at a glance."""
        return f"{len(vocabulary.KEYS)} keys"

    def fingerprint(self) -> str:
        """SHA-256 of all word classes."""
        return _hash_words(
            vocabulary.KEYS,
            vocabulary.LIST_WORDS,
            vocabulary.NOUNS,
            vocabulary.ADJECTIVES,
            vocabulary.VERBS,
            vocabulary.ADVERBS,
            vocabulary.PREPOSITIONS,
        )

    def keys(self, rng: Random, taken: set[str]) -> Iterator[str]:
        """Single words; once all are used they come again in the same order."""
        order = rng.sample(vocabulary.KEYS, len(vocabulary.KEYS))
        free = [key for key in order if key not in taken]
        while True:
            yield from free

    def variables(self, rng: Random, taken: set[str]) -> Iterator[str]:
        """Return the same words as keys."""
        return self.keys(rng, taken)

    def needle_number(self, rng: Random) -> str:
        """Four digits."""
        return vocabulary.number(rng)

    def variable_value(self, rng: Random) -> str:
        """Four digits."""
        return vocabulary.number(rng)

    def list_words(self, rng: Random, count: int) -> list[str]:
        """Return a sample of the list words, at most all of them."""
        return rng.sample(vocabulary.LIST_WORDS, min(count, len(vocabulary.LIST_WORDS)))

    def filler_sentence(self, rng: Random) -> str:
        """Return a sentence of the model's own vocabulary."""
        return vocabulary.filler_sentence(rng)

    @property
    def common_words(self) -> tuple[str, ...]:
        """The list words."""
        return vocabulary.LIST_WORDS


LEXICONS: dict[str, type[Lexicon]] = {
    lexicon.name: lexicon for lexicon in (WonderwordsLexicon, EmbeddedLexicon)
}


@lru_cache(maxsize=len(LEXICONS))
def load_lexicon(name: str) -> Lexicon:
    """Return the lexicon called ``name``; ``UserError`` for an unknown one or a missing package."""
    if name not in LEXICONS:
        raise unknown_name("lexicon", name, LEXICONS)
    return LEXICONS[name]()


def uuids(rng: Random, taken: set[str]) -> Iterator[str]:
    """Version-4 UUIDs, none in ``taken``."""
    return _unique(lambda: str(UUID(int=rng.getrandbits(128), version=4)), taken)


def _unique(draw: Callable[[], str], taken: set[str]) -> Iterator[str]:
    seen = set(taken)
    while True:
        word = draw()
        if word not in seen:
            seen.add(word)
            yield word


def wonderwords(file: str) -> tuple[str, ...]:
    """A word list of the package in its order."""
    try:
        text = resources.files("wonderwords.assets").joinpath(file).read_text("utf-8")
    except (ModuleNotFoundError, FileNotFoundError) as error:
        raise UserError(
            "the wonderwords lexicon needs the package wonderwords with its word lists: "
            "pip install wonderwords==3.0.1, or choose the lexicon 'embedded'."
        ) from error
    return tuple(word for line in text.splitlines() if (word := line.strip()))


def _hash_words(*classes: tuple[str, ...]) -> str:
    return hashlib.sha256("\n\n".join("\n".join(words) for words in classes).encode()).hexdigest()
